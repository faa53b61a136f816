# What the project builds on, all from Debian's packages (scripts/install_dependencies.sh).

find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
find_package(ICU REQUIRED COMPONENTS uc)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
# Module mode first: gRPC's config file would otherwise look for a protobuf config that Debian
# lacks.
find_package(Protobuf REQUIRED)
find_package(gRPC CONFIG REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(Highway REQUIRED IMPORTED_TARGET libhwy)
pkg_check_modules(Hiredis REQUIRED IMPORTED_TARGET hiredis)
pkg_check_modules(MicroHttpd REQUIRED IMPORTED_TARGET libmicrohttpd)
pkg_check_modules(Prometheus REQUIRED IMPORTED_TARGET prometheus-cpp-core)
pkg_check_modules(XxHash REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(Zstd REQUIRED IMPORTED_TARGET libzstd)

# Debian's libsentencepiece.so exports a bundled protobuf of another version: beside libprotobuf.so
# a process dies at start. So protobuf is linked as an archive whose symbols stay hidden, and
# SentencePiece's library comes after it: before it, it would lend our code its protobuf. A test
# looks for such loans.
find_library(SENTENCEPIECE_LIBRARY sentencepiece REQUIRED)
find_library(PROTOBUF_ARCHIVE libprotobuf.a REQUIRED)
find_library(GRPC_CXX_LIBRARY grpc++ REQUIRED)
find_library(GRPC_LIBRARY grpc REQUIRED)
find_library(GPR_LIBRARY gpr REQUIRED)
find_program(PROTOC protoc REQUIRED)
find_program(GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)

add_library(protobuf_archive STATIC IMPORTED)
set_target_properties(protobuf_archive PROPERTIES IMPORTED_LOCATION ${PROTOBUF_ARCHIVE})
# Not a dependency, but the order on the command line; --as-needed drops it where nobody uses it.
target_link_libraries(protobuf_archive INTERFACE ${SENTENCEPIECE_LIBRARY})

# Protobuf and gRPC as every target of ours links them.
add_library(retnet_grpc INTERFACE)
target_link_options(retnet_grpc INTERFACE -Wl,--exclude-libs,ALL -Wl,--as-needed)
target_link_libraries(retnet_grpc INTERFACE
  protobuf_archive ${GRPC_CXX_LIBRARY} ${GRPC_LIBRARY} ${GPR_LIBRARY} absl::synchronization
  Threads::Threads)
