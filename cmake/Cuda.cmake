# The CUDA toolkit, and what executes CUDA tests on a machine without a GPU.

# Any GPU from sm_80 on runs this PTX. For machine code name the GPUs, for example
# -DCMAKE_CUDA_ARCHITECTURES="80-real;86-real;89-real;90-real;100-real;120".
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-virtual)
endif()
find_program(NVCC nvcc PATHS /usr/local/cuda/bin REQUIRED)
set(CMAKE_CUDA_COMPILER ${NVCC})
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc 13 has it
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  list(APPEND CMAKE_CUDA_COMPILE_FEATURES cuda_std_20)
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
# Device code calls constexpr functions of the headers it shares with the host.
string(APPEND CMAKE_CUDA_FLAGS " --expt-relaxed-constexpr")
set(CMAKE_CUDA_FLAGS_RELWITHDEBINFO "-O2 -lineinfo -DNDEBUG")
add_library(CUDA::nvToolsExt INTERFACE IMPORTED)  # Debian's CMake sets properties of it; CUDA 13 lacks it
find_package(CUDAToolkit REQUIRED)

# A program that executes CUDA programs on the CPU, put before the CUDA tests' command lines.
set(emulator "")
if(NOT EXISTS /dev/nvidiactl)
  set(emulator ${PROJECT_SOURCE_DIR}/tests/cudasim/run)
endif()
set(RETNET_CUDA_EMULATOR "${emulator}" CACHE FILEPATH "Executes the CUDA tests; empty: a GPU does")
unset(emulator)

# All tests that use CUDA, and what they start.
add_custom_target(cuda_tests)

# retnet_emulated_test(name labels command…): the command, which starts with the emulator, is a
# test. Fresh device memory is NaN there. A small device shows what is sized by what is free. ctest
# runs several tests at once, so that each has one thread.
set(retnet_emulated CUDASIM_MEMORY=2G CUDASIM_THREADS=1)
function(retnet_emulated_test name labels)
  add_test(NAME ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR} COMMAND ${ARGN})
  set_tests_properties(${name} PROPERTIES
    LABELS "${labels}" TIMEOUT ${RETNET_TEST_TIMEOUT} ENVIRONMENT "${retnet_emulated}")
endfunction()

# retnet_uses_cuda(target [ASYNC] [OVERLAP] [RACE filter] [THOROUGH filter]): makes a test of CUDA
# code, a retnet_test with ONE_ENTRY, run under the emulator where one is set, with checks and its
# threads in shuffled order. ASYNC: what is queued on a stream waits there until the host waits for
# it. OVERLAP: once more on a device of compute capability 9.0, where kernels are launched
# programmatically. RACE: the cases of the filter, which have to be small, run once more with race
# detection. THOROUGH: under the emulator the cases of the filter are an entry of their own, or else
# (*) the whole entry is, with the label thorough. They run kernels that others run as well. CI
# leaves them out; scripts/test_cuda.sh and a GPU run them.
function(retnet_uses_cuda target)
  cmake_parse_arguments(USE "ASYNC;OVERLAP" "RACE;THOROUGH" "" ${ARGN})
  add_dependencies(cuda_tests ${target})
  set_property(TEST ${target} APPEND PROPERTY LABELS cuda)
  if(RETNET_CUDA_EMULATOR)
    set(checked ${RETNET_CUDA_EMULATOR} --check --order 2)
    if(USE_ASYNC)
      list(APPEND checked --async)
    endif()
    set_target_properties(${target} PROPERTIES CROSSCOMPILING_EMULATOR "${checked}")
    set_property(TEST ${target} APPEND PROPERTY ENVIRONMENT ${retnet_emulated})
    if(USE_THOROUGH STREQUAL "*")
      set_property(TEST ${target} APPEND PROPERTY LABELS thorough)
    elseif(USE_THOROUGH)
      set_property(TEST ${target} APPEND PROPERTY ENVIRONMENT GTEST_FILTER=-${USE_THOROUGH})
      retnet_emulated_test(${target}_thorough "cuda;thorough"
        ${checked} $<TARGET_FILE:${target}> --gtest_filter=${USE_THOROUGH})
    endif()
    if(USE_OVERLAP)
      retnet_emulated_test(${target}_overlap cuda
        ${RETNET_CUDA_EMULATOR} --order 2 --cc 9.0 $<TARGET_FILE:${target}>)
    endif()
    if(USE_RACE)
      retnet_emulated_test(${target}_race cuda
        ${RETNET_CUDA_EMULATOR} --race $<TARGET_FILE:${target}> --gtest_filter=${USE_RACE})
    endif()
  endif()
endfunction()
