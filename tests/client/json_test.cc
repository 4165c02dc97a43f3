#include "client/cli/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/spec/json.h"

namespace nursery::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

v1::Job SomeJob() {
  v1::Job job;
  job.set_name("jobs/01JD9K3M5X");
  job.set_id("01JD9K3M5X");
  job.set_state(v1::NODE_STATE_SUCCEEDED);
  job.mutable_start_time()->set_seconds(1'763'936'552);
  job.mutable_start_time()->set_nanos(420'000'000);
  job.mutable_max_teardown()->set_seconds(5);
  job.mutable_max_teardown()->set_nanos(250'000'000);
  job.mutable_counts()->set_succeeded(3);
  (*job.mutable_labels())["team"] = "a\"b";
  (*job.mutable_labels())["env"] = "test";
  job.set_output("gr\xfcn\n");
  return job;
}

std::string Member(const std::string& json, const std::string& name) {
  return std::string(spec::JsonMember(json, name).value_or("none"));
}

TEST(JsonTest, FieldsAreThoseOfTheContract) {
  const std::string json = JobJson(SomeJob());
  EXPECT_TRUE(spec::IsJson(json)) << json;
  EXPECT_EQ(Member(json, "name"), "\"jobs/01JD9K3M5X\"");
  EXPECT_EQ(Member(json, "state"), "\"SUCCEEDED\"");
  EXPECT_EQ(Member(json, "start_time"), "\"2025-11-23T22:22:32.42+00:00\"");
  EXPECT_EQ(Member(json, "max_teardown"), "5.25");
  EXPECT_EQ(Member(Member(json, "counts"), "succeeded"), "3");
  EXPECT_EQ(Member(json, "labels"), R"({"env":"test","team":"a\"b"})");
}

TEST(JsonTest, NumbersTextsAndListsAreAlwaysThereMessagesWhenSet) {
  const std::string json = JobJson(SomeJob());
  EXPECT_EQ(Member(json, "error_count"), "0");
  EXPECT_EQ(Member(json, "done"), "false");
  EXPECT_EQ(Member(json, "submitter"), "\"\"");
  EXPECT_EQ(Member(json, "errors"), "[]");
  EXPECT_EQ(Member(json, "outcome"), "\"UNSPECIFIED\"");
  EXPECT_EQ(Member(json, "deadline"), "none");
}

TEST(JsonTest, BytesAreText) {
  EXPECT_EQ(Member(JobJson(SomeJob()), "output"), "\"gr\ufffdn\\n\"");
}

TEST(JsonTest, AnEventIsOneLineWithItsBody) {
  v1::Event event;
  event.set_seq(7);
  event.mutable_node_ended()->set_path("build/test");
  event.mutable_node_ended()->set_state(v1::NODE_STATE_DEADLINE_EXCEEDED);
  event.mutable_node_ended()->mutable_cause()->set_kind(v1::CAUSE_KIND_DEADLINE);
  const std::string json = EventJson(event);
  EXPECT_TRUE(spec::IsJson(json)) << json;
  EXPECT_THAT(json, Not(HasSubstr("\n")));
  EXPECT_EQ(Member(Member(json, "node_ended"), "state"), "\"DEADLINE_EXCEEDED\"");
  EXPECT_EQ(Member(Member(Member(json, "node_ended"), "cause"), "kind"), "\"DEADLINE\"");
  EXPECT_EQ(Member(json, "job_ended"), "none");
}

TEST(JsonTest, OnlyTheMemberOfAOneofThatIsSetIsThere) {
  v1::Event event;
  event.mutable_attempt_ended()->mutable_attempt()->set_exit_code(0);
  const std::string attempt = Member(Member(EventJson(event), "attempt_ended"), "attempt");
  EXPECT_EQ(Member(attempt, "exit_code"), "0");
  EXPECT_EQ(Member(attempt, "signal"), "none");
}

TEST(JsonTest, ReceiptsHaveTheirSurvivors) {
  v1::CancelReceipt receipt;
  receipt.add_survivors()->set_pid(4711);
  receipt.set_containment(v1::CONTAINMENT_CGROUP);
  receipt.mutable_duration()->set_nanos(-500'000'000);
  const std::string json = ReceiptJson(receipt);
  EXPECT_EQ(Member(json, "containment"), "\"CGROUP\"");
  EXPECT_EQ(Member(json, "duration"), "-0.5");
  EXPECT_THAT(json, HasSubstr("\"survivors\":[{\"pid\":4711,"));
}

}  // namespace
}  // namespace nursery::cli
