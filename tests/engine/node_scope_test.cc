#include "server/engine/node_scope.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nursery/core/status.h"
#include "tests/engine/job_harness.h"

namespace nursery::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

SEEDED_TEST(NodeScopeTest, OutputOfAMapIsALineForEachItemInTheirOrder) {
  JobHarness harness(executor);
  std::string yaml = R"(
name: lines
nodes:
  - name: each
    map:
      items: [3s, "1s!", 2s]
      workers: 3
      join: {max_failures: 1}
      node: {call: {function: script, argument: "${{ item }} ${{ index }}"}}
  - {name: read, needs: [each], call: {function: echo, argument: "${{ output.each }}"}}
)";
  std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  EXPECT_EQ(harness.StateOf(*job, ""), "SUCCEEDED");
  EXPECT_THAT(
      harness.echoed(),
      ElementsAre(R"({"index":0,"item":"3s","outcome":"SUCCEEDED","output":"output of 0"})"
                  "\n"
                  R"({"index":1,"item":"1s!","outcome":"FAILED","output":null})"
                  "\n"
                  R"({"index":2,"item":"2s","outcome":"SUCCEEDED","output":"output of 2"})"));
  co_return absl::OkStatus();
}

SEEDED_TEST(NodeScopeTest, ItemsOfAMapsOutputAreThoseThatSucceeded) {
  JobHarness harness(executor);
  std::string yaml = R"(
name: items
nodes:
  - name: first
    map:
      items: [1s, "1s!", 2s]
      join: {max_failures: 1}
      node: {call: {function: script, argument: "${{ item }} ${{ index }}"}}
  - name: second
    needs: [first]
    map:
      items: {output_of: first}
      workers: 1
      node: {call: {function: echo, argument: "${{ index }}: ${{ item }}"}}
)";
  std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  EXPECT_EQ(harness.StateOf(*job, ""), "SUCCEEDED");
  EXPECT_THAT(harness.echoed(), ElementsAre("0: output of 0", "1: output of 2"));
  co_return absl::OkStatus();
}

SEEDED_TEST(NodeScopeTest, AnItemOfManyLinesStaysOne) {
  JobHarness harness(executor);
  std::string yaml = R"(
name: lines
nodes:
  - name: texts
    map: {items: ["a\nb\n", c], node: {call: {function: echo, argument: "${{ item }}"}}}
  - name: split
    needs: [texts]
    call: {function: echo, argument: "x\ny"}
  - name: both
    needs: [texts, split]
    map:
      items: {output_of: texts}
      node: {call: {function: echo, argument: "<${{ item }}>"}}
  - name: lines
    needs: [split]
    map:
      items: {output_of: split}
      node: {call: {function: echo, argument: "[${{ item }}]"
}
}
)";
  std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  EXPECT_EQ(harness.StateOf(*job, ""), "SUCCEEDED");
  EXPECT_THAT(harness.echoed(),
              UnorderedElementsAre("a\nb\n", "c", "x\ny", "<a\nb>", "<c>", "[x]", "[y]"));
  co_return absl::OkStatus();
}

// The need stands on the map, on the group in its item, and on a sibling inside of it.
SEEDED_TEST(NodeScopeTest, OutputsAreFoundFromInsideOfItems) {
  JobHarness harness(executor);
  std::string yaml = R"(
name: inside
nodes:
  - {name: top, call: {function: script, argument: 1s top}}
  - name: each
    needs: [top]
    map:
      items: [x, y]
      node:
        nodes:
          - {name: own, call: {function: script, argument: "1s ${{ item }}"}}
          - name: deep
            needs: [own]
            nodes:
              - name: last
                call: {function: echo, argument: "${{ output.top }}, ${{ output.own }}"}
)";
  std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  EXPECT_EQ(harness.StateOf(*job, ""), "SUCCEEDED");
  EXPECT_THAT(harness.echoed(),
              UnorderedElementsAre("output of top, output of x", "output of top, output of y"));
  co_return absl::OkStatus();
}

SEEDED_TEST(NodeScopeTest, AnOutputThatCannotBeReadFailsTheReaderAndNamesTheItem) {
  JobHarness harness(executor);
  std::string yaml = R"(
name: broken
nodes:
  - name: each
    map: {items: [a, "\0"], node: {call: {function: echo, argument: "${{ item }}"}}}
  - {name: read, needs: [each], call: {function: echo, argument: "${{ output.each }}"}}
)";
  std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  EXPECT_EQ(harness.StateOf(*job, "read"), "FAILED");
  EXPECT_THAT(job->Describe().errors(0).status().message(),
              HasSubstr("output of each: item 1: its output is not UTF-8 text"));
  co_return absl::OkStatus();
}

SEEDED_TEST(NodeScopeTest, AKeyGivenTwiceFailsTheLaterItemAndNamesBoth) {
  JobHarness harness(executor);
  std::string yaml = R"(
name: keys
nodes:
  - {name: list, call: {function: echo, argument: "a\nb\na"}}
  - name: each
    needs: [list]
    map:
      items: {output_of: list}
      key: "${{ item }}"
      workers: 1
      node: {call: {function: script, argument: "1s ${{ item }}"}}
)";
  std::shared_ptr<Job> job = co_await harness.Run(ctx, yaml);
  EXPECT_EQ(harness.StateOf(*job, "each"), "FAILED");
  const v1::Job described = job->Describe();
  EXPECT_EQ(described.errors(0).path(), "each[2]");
  EXPECT_EQ(described.errors(0).status().message(), "items 0 and 2 have the same key 'a'");
  EXPECT_EQ(harness.Started("a"), 1);
  co_return absl::OkStatus();
}

}  // namespace
}  // namespace nursery::engine
