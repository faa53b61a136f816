# Programs with a fault each that the emulator must detect, so that its silence means something. A
# fault is put into a copy of a source, which is linked in place of the library's: no source of the
# product knows of it.

set(seeded_faults_libraries retnet_kernels_cuda retnet_kernels_reference)
retnet_test(seeded_faults_test ONE_ENTRY
  SOURCES seeded_faults_test.cc LIBRARIES ${seeded_faults_libraries})
retnet_uses_cuda(seeded_faults_test ASYNC RACE *)

# retnet_seeded_fault(NAME SOURCE old new OPTION case diagnosis): `old`, which stands in SOURCE once,
# becomes `new`; with the emulator's OPTION the case must end with the diagnosis, a regular
# expression.
function(retnet_seeded_fault name source old new option case diagnosis)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${source})
  file(READ ${PROJECT_SOURCE_DIR}/${source} text)
  string(REPLACE "${old}" "" without "${text}")
  string(LENGTH "${old}" old_length)
  string(LENGTH "${text}" length)
  string(LENGTH "${without}" length_without)
  math(EXPR times "(${length} - ${length_without}) / ${old_length}")
  if(NOT times EQUAL 1)
    message(FATAL_ERROR "${name}: \"${old}\" stands ${times} times in ${source}, not once")
  endif()
  string(REPLACE "${old}" "${new}" text "${text}")
  set(copy ${CMAKE_CURRENT_BINARY_DIR}/${name}/${source})
  file(CONFIGURE OUTPUT ${copy} CONTENT "${text}" @ONLY)

  add_executable(${name} seeded_faults_test.cc ${copy})
  target_link_libraries(${name} PRIVATE
    retnet_flags ${seeded_faults_libraries} GTest::gmock GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_dependencies(cuda_tests ${name})
  add_test(NAME ${name} COMMAND
    ${RETNET_CUDA_EMULATOR} ${option} $<TARGET_FILE:${name}> --gtest_filter=SeededFaults.${case})
  set_tests_properties(${name} PROPERTIES
    LABELS cuda TIMEOUT 300 PASS_REGULAR_EXPRESSION "${diagnosis}")
endfunction()

if(RETNET_CUDA_EMULATOR)
  retnet_seeded_fault(seeded_fault_barrier kernels/cuda/retention/prefill_prepare.cu
    "  WaitForCopies<0>();\n  __syncthreads();\n" "  WaitForCopies<0>();\n"
    --race Retention "RACE .*WeighRowsKernel")
  retnet_seeded_fault(seeded_fault_copies kernels/cuda/retention/prefill_prepare.cu
    "  WaitForCopies<0>();\n  __syncthreads();\n" "  __syncthreads();\n"
    --check Retention "WeighRowsKernel.*read of uninitialised shared memory")
  retnet_seeded_fault(seeded_fault_bound kernels/cuda/rows.cu
    "if (i >= tables.cosines.rows * entries) return;" "if (i > tables.cosines.rows * entries) return;"
    --check PositionTables "PositionTables.*out of bounds")
  # Deferred, the step's results are not there yet when they are taken.
  retnet_seeded_fault(seeded_fault_stream kernels/cuda/sampling/sampler.cc
    "status.Update(CudaStatus(cudaStreamSynchronize(stream)"
    "status.Update(CudaStatus((static_cast<void>(stream), cudaSuccess)"
    --async Sample "FAILED  . SeededFaults.Sample")
endif()
