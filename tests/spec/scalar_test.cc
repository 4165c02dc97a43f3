#include "server/spec/scalar.h"

#include <gtest/gtest.h>

#include "nursery/core/status.h"

namespace nursery::spec {
namespace {

using std::chrono::nanoseconds;
using namespace std::chrono_literals;

template <typename T>
std::string Text(const absl::StatusOr<T>& value) {
  return value.ok() ? "accepted" : std::string(Message(value.status()));
}

TEST(ParseDurationTest, TakesUnitsLargestFirst) {
  EXPECT_EQ(*ParseDuration("250ms"), 250ms);
  EXPECT_EQ(*ParseDuration("1h30m"), 90min);
  EXPECT_EQ(*ParseDuration("1.5s"), 1500ms);
  EXPECT_EQ(*ParseDuration("7d"), 168h);
  EXPECT_EQ(*ParseDuration("1d2h3m4s5ms6us"), 26h + 3min + 4s + 5ms + 6us);
  EXPECT_EQ(*ParseDuration("0s"), 0s);
}

TEST(ParseDurationTest, SaysWhatIsMissing) {
  EXPECT_EQ(Text(ParseDuration("10")), "10 needs a unit, as in 10s, 5m, 1h30m");
  EXPECT_EQ(Text(ParseDuration("-1s")), "'-1s' must not be negative");
  EXPECT_EQ(Text(ParseDuration("1000000h")), "'1000000h' is over the limit of 10 years (87600h)");
}

TEST(ParseDurationTest, RefusesWhatIsNone) {
  for (const char* text : {"", "s", "1x", "1 s", "1s1h", "1s2s", "1.s", ".5s", "1.2.3s", "1h30"}) {
    EXPECT_FALSE(ParseDuration(text).ok()) << text;
  }
}

TEST(FormatDurationTest, IsReadBackAsTheSame) {
  for (const nanoseconds duration : {nanoseconds(0), nanoseconds(250ms), nanoseconds(90min),
                                     nanoseconds(26h + 5s), nanoseconds(7us)}) {
    EXPECT_EQ(*ParseDuration(FormatDuration(duration)), duration) << FormatDuration(duration);
  }
  EXPECT_EQ(FormatDuration(90min), "1h30m");
}

TEST(ParseSizeTest, TakesBinaryUnitsOnly) {
  EXPECT_EQ(*ParseSize("64KiB"), 65536);
  EXPECT_EQ(*ParseSize("1.5MiB"), 1572864);
  EXPECT_EQ(*ParseSize("10B"), 10);
  EXPECT_EQ(Text(ParseSize("10")), "10 needs a unit, as in 64KiB, 1MiB, 2GiB");
  EXPECT_EQ(Text(ParseSize("10MB")), "'10MB' is not a size, as in 64KiB, 1MiB, 2GiB");
  EXPECT_EQ(Text(ParseSize("9999999TiB")), "'9999999TiB' is over the limit of 1024TiB");
}

TEST(ParseNumberTest, PercentIsAShare) {
  EXPECT_DOUBLE_EQ(*ParseNumber("20%"), 0.2);
  EXPECT_DOUBLE_EQ(*ParseNumber("1e3"), 1000);
  EXPECT_FALSE(ParseNumber("nan").ok());
  EXPECT_FALSE(ParseNumber("1,5").ok());
}

TEST(ParseIntegerTest, IsWholeAndFits) {
  EXPECT_EQ(*ParseInteger("-12"), -12);
  EXPECT_EQ(Text(ParseInteger("1e3")), "'1e3' is not a whole number");
  EXPECT_EQ(Text(ParseInteger("99999999999999999999")),
            "'99999999999999999999' does not fit into 64 bits");
}

}  // namespace
}  // namespace nursery::spec
