// Messages as the JSON of `-o json`: the fields of the contract in snake_case, times in RFC 3339,
// durations in seconds, enumerated values without their prefix. Numbers, texts and lists are always
// there, messages when they are set. Bytes are written as text, U+FFFD for what is not UTF-8.
//
// Thread safety: pure functions.
#ifndef NURSERY_CLIENT_CLI_JSON_H_
#define NURSERY_CLIENT_CLI_JSON_H_

#include <string>

#include "nursery/v1/event.pb.h"
#include "nursery/v1/resources.pb.h"

namespace nursery::cli {

// Each one line, without a newline at its end.
std::string JobJson(const v1::Job& job);
std::string EventJson(const v1::Event& event);
std::string ReceiptJson(const v1::CancelReceipt& receipt);

}  // namespace nursery::cli

#endif  // NURSERY_CLIENT_CLI_JSON_H_
