# Flags that all of the project's targets share.

add_library(retnet_flags INTERFACE)
target_include_directories(retnet_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(retnet_flags INTERFACE -Wall -Wextra -Wno-sign-compare)
if(RETNET_WERROR)
  target_compile_options(retnet_flags INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-Werror> $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>)
endif()
if(RETNET_SANITIZE)
  # At -O2 the register tiles of kernels/cpu alone take minutes to compile under sanitizers. A target
  # that takes longer to compile than to run has the property RETNET_UNOPTIMISED.
  target_compile_options(retnet_flags INTERFACE
    -O$<IF:$<BOOL:$<TARGET_PROPERTY:RETNET_UNOPTIMISED>>,0,1>
    -fsanitize=${RETNET_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined
    # GCC warns falsely of std::regex under the address sanitizer (GCC bug 105562).
    -Wno-maybe-uninitialized)
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

# retnet_test(NAME SOURCES… LIBRARIES… [LABELS…] [ONE_ENTRY]): a GoogleTest binary. Each of its cases
# is an entry of ctest, NAME.SUITE.CASE, in a process of its own. With ONE_ENTRY, and under
# sanitizers, the binary is one entry, NAME: there a process costs more than most cases.
function(retnet_test name)
  cmake_parse_arguments(TEST "ONE_ENTRY" "" "SOURCES;LIBRARIES;LABELS" ${ARGN})
  add_executable(${name} ${TEST_SOURCES})
  target_link_libraries(${name} PRIVATE retnet_flags ${TEST_LIBRARIES} GTest::gmock GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_compile_definitions(${name} PRIVATE RETNET_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  set(properties TIMEOUT ${RETNET_TEST_TIMEOUT})
  if(TEST_LABELS)
    list(APPEND properties LABELS ${TEST_LABELS})
  endif()
  if(TEST_ONE_ENTRY OR RETNET_SANITIZE)
    add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(${name} PROPERTIES ${properties})
  else()
    gtest_discover_tests(${name} TEST_PREFIX ${name}. NO_PRETTY_TYPES NO_PRETTY_VALUES
      WORKING_DIRECTORY ${PROJECT_SOURCE_DIR} DISCOVERY_MODE PRE_TEST PROPERTIES ${properties})
  endif()
  if(TEST_LABELS MATCHES "engine|server")
    add_dependencies(thread_tests ${name})
  endif()
  if(TEST_LABELS MATCHES "server")
    set_target_properties(${name} PROPERTIES RETNET_UNOPTIMISED TRUE)
  endif()
endfunction()
