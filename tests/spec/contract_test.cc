// The contract only grows: whatever contract.txt lists must still be there with the same number,
// type and label. A new line is added to contract.txt by hand, in the commit that adds the field.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>

namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::FileDescriptorProto;
using google::protobuf::FileDescriptorSet;
using google::protobuf::MethodDescriptor;
using google::protobuf::SourceLocation;
using Lines = std::set<std::string>;

std::string TypeOf(const FieldDescriptor& field) {
  if (field.message_type() != nullptr) return field.message_type()->full_name();
  if (field.enum_type() != nullptr) return field.enum_type()->full_name();
  return field.type_name();
}

// Every element of the contract: what identifies it on the wire, and whether it has a comment.
class Contract {
 public:
  explicit Contract(const FileDescriptorSet& files) {
    for (const FileDescriptorProto& proto : files.file()) {
      const FileDescriptor* file = pool_.BuildFile(proto);
      if (file != nullptr && !proto.name().starts_with("google/protobuf/")) AddFile(*file);
    }
  }

  const Lines& lines() const { return lines_; }
  const Lines& uncommented() const { return uncommented_; }

 private:
  void AddFile(const FileDescriptor& file) {
    for (int i = 0; i < file.message_type_count(); ++i) AddMessage(*file.message_type(i));
    for (int i = 0; i < file.enum_type_count(); ++i) AddEnum(*file.enum_type(i));
    for (int i = 0; i < file.extension_count(); ++i) AddField(*file.extension(i));
    for (int i = 0; i < file.service_count(); ++i) {
      NoteComment(*file.service(i));
      for (int m = 0; m < file.service(i)->method_count(); ++m) {
        AddMethod(*file.service(i)->method(m));
      }
    }
  }

  void AddMessage(const Descriptor& message) {
    if (message.options().map_entry()) return;
    NoteComment(message);
    lines_.insert("message " + message.full_name());
    for (int i = 0; i < message.field_count(); ++i) AddField(*message.field(i));
    for (int i = 0; i < message.nested_type_count(); ++i) AddMessage(*message.nested_type(i));
    for (int i = 0; i < message.enum_type_count(); ++i) AddEnum(*message.enum_type(i));
  }

  void AddField(const FieldDescriptor& field) {
    NoteComment(field);
    std::ostringstream line;
    line << "field " << field.full_name() << " " << field.number() << " " << TypeOf(field) << " ";
    line << (field.is_repeated() ? "repeated" : "singular");
    if (field.is_map()) line << " of " << TypeOf(*field.message_type()->map_value());
    if (field.real_containing_oneof() != nullptr) {
      line << " in " << field.containing_oneof()->name();
    }
    lines_.insert(line.str());
  }

  void AddEnum(const EnumDescriptor& type) {
    NoteComment(type);
    for (int i = 0; i < type.value_count(); ++i) {
      NoteComment(*type.value(i));
      lines_.insert("value " + type.full_name() + " " + type.value(i)->name() + " " +
                    std::to_string(type.value(i)->number()));
    }
  }

  void AddMethod(const MethodDescriptor& method) {
    NoteComment(method);
    lines_.insert("rpc " + method.full_name() + " " + method.input_type()->full_name() +
                  (method.client_streaming() ? " stream" : "") + " -> " +
                  (method.server_streaming() ? "stream " : "") + method.output_type()->full_name());
  }

  template <typename D>
  void NoteComment(const D& descriptor) {
    SourceLocation location;
    if (!descriptor.GetSourceLocation(&location) || location.leading_comments.empty()) {
      uncommented_.insert(descriptor.full_name());
    }
  }

  DescriptorPool pool_;
  Lines lines_;
  Lines uncommented_;
};

FileDescriptorSet ReadDescriptorSet() {
  FileDescriptorSet files;
  std::ifstream in(NURSERY_DESCRIPTOR_SET, std::ios::binary);
  EXPECT_TRUE(files.ParseFromIstream(&in)) << NURSERY_DESCRIPTOR_SET;
  return files;
}

Lines ReadGolden() {
  std::ifstream in("tests/spec/contract.txt");
  EXPECT_TRUE(in.good());
  Lines lines;
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with('#')) lines.insert(line);
  }
  return lines;
}

Lines Minus(const Lines& a, const Lines& b) {
  Lines rest;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::inserter(rest, rest.end()));
  return rest;
}

TEST(ContractTest, NothingIsTakenAwayOrChanged) {
  EXPECT_THAT(Minus(ReadGolden(), Contract(ReadDescriptorSet()).lines()), testing::IsEmpty());
}

TEST(ContractTest, WhatIsNewIsListed) {
  std::string missing;
  for (const std::string& line : Minus(Contract(ReadDescriptorSet()).lines(), ReadGolden())) {
    missing += line + "\n";
  }
  EXPECT_TRUE(missing.empty()) << "add to tests/spec/contract.txt:\n" << missing;
}

TEST(ContractTest, EveryElementIsExplained) {
  EXPECT_THAT(Contract(ReadDescriptorSet()).uncommented(), testing::IsEmpty());
}

// Negative control: the comparison sees a changed type and a field that went away.
TEST(ContractTest, ChangedFieldIsSeen) {
  FileDescriptorSet files = ReadDescriptorSet();
  int changed = 0;
  for (FileDescriptorProto& file : *files.mutable_file()) {
    for (auto& message : *file.mutable_message_type()) {
      if (message.name() == "SemaphoreSpec") {
        message.mutable_field(1)->set_type(google::protobuf::FieldDescriptorProto::TYPE_SINT64);
        message.mutable_field()->RemoveLast();
        ++changed;
      }
    }
  }
  ASSERT_EQ(changed, 1);
  EXPECT_THAT(Minus(ReadGolden(), Contract(files).lines()),
              testing::ElementsAre("field nursery.v1.SemaphoreSpec.size 2 int64 singular",
                                   "field nursery.v1.SemaphoreSpec.units 3 string repeated"));
}

}  // namespace
