#include "client/snapshot_file.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <system_error>

namespace retnet {
namespace {

constexpr size_t kChunkBytes = 1 << 20;

grpc::Status FileError(const std::string& file, const std::string& what) {
  return grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, file + " cannot be " + what);
}

}  // namespace

grpc::Status SaveSession(const std::string& id, const std::string& file, v1::Sessions::Stub* stub,
                         grpc::ClientContext* context) {
  const bool to_file = file != "-";
  std::error_code none;
  const auto kind = std::filesystem::status(file, none).type();
  // A device or a pipe is written, not replaced.
  const bool replaces =
      kind == std::filesystem::file_type::not_found || kind == std::filesystem::file_type::regular;
  const std::string temporary = replaces ? file + ".part" : file;
  std::ofstream opened;
  if (to_file) {
    opened.open(temporary, std::ios::binary);
    if (!opened) return FileError(file, "written");
  }
  std::ostream& out = to_file ? opened : std::cout;
  v1::ExportSessionRequest request;
  request.set_id(id);
  v1::ExportSessionResponse response;
  const auto reader = stub->Export(context, request);
  while (reader->Read(&response)) {
    if (!out.write(response.chunk().data(), response.chunk().size())) context->TryCancel();
  }
  grpc::Status status = reader->Finish();
  out.flush();
  if (!out) status = FileError(file, "written");
  if (!to_file) return status;
  opened.close();
  if (!opened) status = FileError(file, "written");
  if (!replaces) return status;
  if (status.ok() && std::rename(temporary.c_str(), file.c_str()) != 0) {
    status = FileError(file, "written");
  }
  if (!status.ok()) std::remove(temporary.c_str());
  return status;
}

grpc::Status LoadSession(const v1::CreateSessionRequest& session, const std::string& file,
                         v1::Sessions::Stub* stub, grpc::ClientContext* context,
                         v1::Session* loaded) {
  std::ifstream opened;
  if (file != "-") {
    opened.open(file, std::ios::binary);
    if (!opened) return FileError(file, "read");
  }
  std::istream& in = file == "-" ? std::cin : opened;
  const auto writer = stub->Import(context, loaded);
  v1::ImportSessionRequest request;
  *request.mutable_session() = session;
  std::string chunk(kChunkBytes, '\0');
  do {
    in.read(chunk.data(), chunk.size());
    request.set_chunk(chunk.data(), in.gcount());
    // A server that refuses says why at the end.
    if (!writer->Write(request)) break;
    request.clear_session();
  } while (in);
  writer->WritesDone();
  const grpc::Status status = writer->Finish();
  // std::cin calls an error its end.
  const bool broken = in.bad() || (file == "-" && std::ferror(stdin) != 0);
  return broken ? FileError(file, "read") : status;
}

}  // namespace retnet
