# What the project builds on, all from Debian's packages (scripts/install_dependencies.sh).

find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
# Module mode first: gRPC's config file would otherwise look for a protobuf config that Debian lacks.
find_package(Protobuf REQUIRED)
find_package(gRPC CONFIG REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(Highway REQUIRED IMPORTED_TARGET libhwy)

# Debian's libsentencepiece.so exports a bundled protobuf of another version: beside libprotobuf.so (which
# libgrpc++_reflection.so needs) a process dies at start. So protobuf and gRPC's reflection are linked as
# archives whose symbols stay hidden, and SentencePiece's library comes after them.
find_library(SENTENCEPIECE_LIBRARY sentencepiece REQUIRED)
find_library(PROTOBUF_ARCHIVE libprotobuf.a REQUIRED)
find_library(GRPC_REFLECTION_ARCHIVE libgrpc++_reflection.a REQUIRED)
find_library(GRPC_CXX_LIBRARY grpc++ REQUIRED)
find_library(GRPC_LIBRARY grpc REQUIRED)
find_library(GPR_LIBRARY gpr REQUIRED)
find_program(PROTOC protoc REQUIRED)
find_program(GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)

# Protobuf and gRPC as every target of ours links them.
add_library(retnet_grpc INTERFACE)
target_link_options(retnet_grpc INTERFACE -Wl,--exclude-libs,ALL)
target_link_libraries(retnet_grpc INTERFACE
  ${PROTOBUF_ARCHIVE} ${GRPC_CXX_LIBRARY} ${GRPC_LIBRARY} ${GPR_LIBRARY} Threads::Threads)

# Server reflection registers itself when its archive is linked whole.
add_library(retnet_grpc_reflection INTERFACE)
target_link_libraries(retnet_grpc_reflection INTERFACE
  -Wl,--whole-archive ${GRPC_REFLECTION_ARCHIVE} -Wl,--no-whole-archive retnet_grpc)
