# Flags that all of the project's targets share.

add_library(retnet_flags INTERFACE)
target_include_directories(retnet_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(retnet_flags INTERFACE -Wall -Wextra -Wno-sign-compare)
if(RETNET_WERROR)
  target_compile_options(retnet_flags INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-Werror> $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>)
endif()
if(RETNET_SANITIZE)
  # -O1: at -O2 the register tiles of kernels/cpu alone take minutes to compile under sanitizers.
  target_compile_options(retnet_flags INTERFACE
    -O1 -fsanitize=${RETNET_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  target_link_options(retnet_flags INTERFACE -fsanitize=${RETNET_SANITIZE})
endif()

# retnet_library(NAME sources…): the library of one folder. Link it with target_link_libraries.
function(retnet_library name)
  add_library(${name} STATIC ${ARGN})
  target_link_libraries(${name} PUBLIC retnet_flags)
endfunction()

# retnet_dcheck(sources…): these files of the folder use RETNET_DCHECK. They alone are compiled again
# when a build folder goes from a build without tests to one with them.
function(retnet_dcheck)
  set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_DEFINITIONS RETNET_DCHECKS=${RETNET_DCHECKS})
endfunction()

# What the thread sanitizer is run on: every test labelled engine or server.
add_custom_target(thread_tests)

# retnet_test(NAME SOURCES… LIBRARIES… [LABELS…]): a GoogleTest binary, one ctest entry.
function(retnet_test name)
  cmake_parse_arguments(TEST "" "" "SOURCES;LIBRARIES;LABELS" ${ARGN})
  add_executable(${name} ${TEST_SOURCES})
  target_link_libraries(${name} PRIVATE retnet_flags ${TEST_LIBRARIES} GTest::gmock GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_compile_definitions(${name} PRIVATE RETNET_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS "${TEST_LABELS}" TIMEOUT ${RETNET_TEST_TIMEOUT})
  if(TEST_LABELS MATCHES "engine|server")
    add_dependencies(thread_tests ${name})
  endif()
endfunction()
