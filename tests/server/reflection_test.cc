// Reflection, by both of its names.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/descriptor_database.h>

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "gtest/gtest.h"
#include "tests/server/fake_server.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

template <typename ServiceType, typename RequestType, typename ResponseType>
struct Version {
  using Service = ServiceType;
  using Request = RequestType;
  using Response = ResponseType;
};
using V1 =
    Version<grpc::reflection::v1::ServerReflection, grpc::reflection::v1::ServerReflectionRequest,
            grpc::reflection::v1::ServerReflectionResponse>;
using V1Alpha = Version<grpc::reflection::v1alpha::ServerReflection,
                        grpc::reflection::v1alpha::ServerReflectionRequest,
                        grpc::reflection::v1alpha::ServerReflectionResponse>;

template <typename V>
class Reflection : public ::testing::Test {
 protected:
  using Request = typename V::Request;
  using Response = typename V::Response;

  // One question on the open stream.
  Response Ask(const Request& request) {
    EXPECT_TRUE(stream_->Write(request));
    Response response;
    EXPECT_TRUE(stream_->Read(&response));
    EXPECT_EQ(response.original_request().SerializeAsString(), request.SerializeAsString());
    return response;
  }
  Response AskForSymbol(const std::string& symbol) {
    Request request;
    request.set_file_containing_symbol(symbol);
    return Ask(request);
  }

  FakeServer server_;
  std::unique_ptr<typename V::Service::Stub> stub_ = V::Service::NewStub(server_.NewChannel());
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<Request, Response>> stream_ =
      stub_->ServerReflectionInfo(&context_);
};
using Versions = ::testing::Types<V1, V1Alpha>;
TYPED_TEST_SUITE(Reflection, Versions);

TYPED_TEST(Reflection, ListsTheServices) {
  typename TypeParam::Request request;
  request.set_list_services("*");
  const auto response = this->Ask(request);
  std::vector<std::string> names;
  for (const auto& service : response.list_services_response().service()) {
    names.push_back(service.name());
  }
  EXPECT_THAT(names,
              UnorderedElementsAre("retnet.v1.Generation", "retnet.v1.Sessions",
                                   "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
                                   "grpc.reflection.v1alpha.ServerReflection"));
}

// What a tool does that knows nothing: it builds every service of the list from the files alone.
TYPED_TEST(Reflection, GivesFilesThatDescribeEveryService) {
  typename TypeParam::Request request;
  request.set_list_services("");
  const auto listed = this->Ask(request);
  for (const auto& service : listed.list_services_response().service()) {
    google::protobuf::SimpleDescriptorDatabase files;
    const auto response = this->AskForSymbol(service.name());
    for (const std::string& bytes : response.file_descriptor_response().file_descriptor_proto()) {
      google::protobuf::FileDescriptorProto file;
      ASSERT_TRUE(file.ParseFromString(bytes));
      files.Add(file);
    }
    google::protobuf::DescriptorPool pool(&files);
    const auto* found = pool.FindServiceByName(service.name());
    ASSERT_NE(found, nullptr) << service.name();
    EXPECT_GE(found->method_count(), 1);
  }
}

TYPED_TEST(Reflection, FindsFilesMethodsAndMessages) {
  typename TypeParam::Request request;
  request.set_file_by_filename("retnet/v1/sessions.proto");
  const auto by_name = this->Ask(request);
  EXPECT_GE(by_name.file_descriptor_response().file_descriptor_proto_size(), 1);
  for (const std::string symbol : {"retnet.v1.Generation.Generate", "retnet.v1.GenerateRequest"}) {
    EXPECT_TRUE(this->AskForSymbol(symbol).has_file_descriptor_response()) << symbol;
  }
  request.set_all_extension_numbers_of_type("retnet.v1.GenerateRequest");
  const auto extensions = this->Ask(request);
  EXPECT_EQ(extensions.all_extension_numbers_response().base_type_name(),
            "retnet.v1.GenerateRequest");
}

TYPED_TEST(Reflection, SaysWhatThereIsNotAndGoesOn) {
  typename TypeParam::Request request;
  EXPECT_EQ(this->AskForSymbol("no.Such").error_response().error_code(),
            grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(this->Ask(request).error_response().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  request.set_all_extension_numbers_of_type("no.Such");
  EXPECT_EQ(this->Ask(request).error_response().error_code(), grpc::StatusCode::NOT_FOUND);
  request.mutable_file_containing_extension()->set_containing_type("retnet.v1.GenerateRequest");
  EXPECT_EQ(this->Ask(request).error_response().error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_TRUE(this->AskForSymbol("retnet.v1.Generation").has_file_descriptor_response());
  this->stream_->WritesDone();
  EXPECT_TRUE(this->stream_->Finish().ok());
}

TYPED_TEST(Reflection, RefusesALongRequest) {
  // Field number and length take three bytes.
  this->AskForSymbol(std::string((4 << 10) - 3, 'a'));
  typename TypeParam::Request request;
  request.set_file_containing_symbol(std::string((4 << 10) - 2, 'a'));
  EXPECT_TRUE(this->stream_->Write(request));
  const grpc::Status status = this->stream_->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("the request has 4097 bytes; it may have 4096"));
}

TYPED_TEST(Reflection, RefusesMuchMetadata) {
  grpc::ClientContext context;
  context.AddMetadata("x", std::string(64 << 10, 'a'));
  const auto stream = this->stub_->ServerReflectionInfo(&context);
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

}  // namespace
}  // namespace retnet
