#!/usr/bin/python3
"""A client of nurseryd in Python: runs a job of three commands and prints what happens.

    apt-get install python3-grpcio protobuf-compiler-grpc
    python3 client.py unix:/run/nursery/nursery.sock /usr/local/share/nursery/proto
"""

import glob
import os
import subprocess
import sys
import tempfile

import grpc

address, protos = sys.argv[1:3]

# The stubs, from the contract that is installed with nursery.
stubs = tempfile.TemporaryDirectory()
found = glob.glob(protos + "/**/*.proto", recursive=True)
files = [os.path.relpath(each, protos) for each in found]
subprocess.run(["protoc", f"-I{protos}", f"--python_out={stubs.name}", f"--grpc_out={stubs.name}",
                "--plugin=protoc-gen-grpc=/usr/bin/grpc_python_plugin", *files], check=True)
sys.path.insert(0, stubs.name)
from nursery.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc, resources_pb2  # noqa: E402


def node(name, *argv, needs=()):
    return job_pb2.NodeSpec(name=name, needs=needs, exec=job_pb2.ExecAction(argv=argv))


spec = job_pb2.JobSpec(name="from-python", root=job_pb2.NodeSpec(group=job_pb2.GroupSpec(nodes=[
    node("one", "echo", "1"),
    node("two", "echo", "2"),
    node("sum", "expr", "${{ output.one }}", "+", "${{ output.two }}", needs=["one", "two"]),
])))
with grpc.insecure_channel(address) as channel:
    jobs = job_service_pb2_grpc.JobServiceStub(channel)
    # The job lives in this call: its deadline bounds the tree, and Ctrl-C takes it down.
    for message in jobs.RunJob(job_service_pb2.RunJobRequest(job_spec=spec), timeout=60):
        for event in message.events:
            if event.HasField("node_ended") and event.node_ended.path:
                print(event.node_ended.path, resources_pb2.NodeState.Name(event.node_ended.state))
    print("result:", message.result.output.decode().strip())
