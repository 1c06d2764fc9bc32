# The kernels and the flags that the proofs rely on: for the extension module and for the tests.
#
# In: nothing. Out: KERNELS, and certvq_compile(target source...), which has to be called in the
# directory that includes this file: flags of a source belong to a directory.

set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
option(CERTVQ_WERROR "Warnings are errors; off in wheels, for compilers that we have not seen" ON)
set(CERTVQ_SANITIZE "OFF" CACHE STRING "Sanitizers to compile in, such as \"address;undefined\"")

option(CERTVQ_EVEX "Also the body of AVX-VNNI in the encoding of AVX-512, to test it without AVX-VNNI" OFF)

find_package(Threads REQUIRED)

set(KERNELS)
foreach(name approach assign averages axis_codes block byte_codes cells closer deltas dense direct direct_avx2 direct_avx512 direct_portable exact first_pass isa isa_avx2 isa_avx512 isa_avx_vnni isa_neon isa_portable isa_vnni lloyd moments nearby packed ranking recheck rounded row_norms second share stability together worker)
  list(APPEND KERNELS ${CMAKE_CURRENT_LIST_DIR}/${name}.cpp)
endforeach()
if(CERTVQ_EVEX)
  list(APPEND KERNELS ${CMAKE_CURRENT_LIST_DIR}/tests/evex_vnni.cpp)
endif()

# Flags are part of the proof: no contraction of a * b + c, no reordering, no flush to zero.
function(certvq_compile target)
  target_link_libraries(${target} PRIVATE Threads::Threads)
  target_compile_options(${target} PRIVATE -ffp-contract=off -fno-fast-math)
  set(level -O3)
  if("address" IN_LIST CERTVQ_SANITIZE)
    set(level -O1)  # compiles in a third of the time
  endif()
  set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_OPTIONS
    ${level} -fno-math-errno -fno-trapping-math -Wall -Wextra -Wno-psabi)
  if(CERTVQ_WERROR)
    set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_OPTIONS -Werror)
  endif()
  if(CERTVQ_SANITIZE)
    list(JOIN CERTVQ_SANITIZE "," sanitizers)
    set(flags -fsanitize=${sanitizers} -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
    target_compile_options(${target} PRIVATE ${flags} -Wno-maybe-uninitialized)  # GCC 12 errs here
    target_link_options(${target} PRIVATE ${flags})
  endif()

  # One file for each instruction set, chosen at run time; a file for another machine is empty.
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    set(avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c)
    set(quiet -Wno-maybe-uninitialized -Wno-uninitialized)  # GCC 12 about its own intrinsics
    if(CERTVQ_EVEX)
      target_compile_definitions(${target} PRIVATE CERTVQ_EVEX)
    endif()
    foreach(source ${ARGN})
      if(source MATCHES "((isa|direct)_avx2|isa_avx_vnni|evex_vnni).cpp$")
        set_property(SOURCE ${source} APPEND PROPERTY COMPILE_OPTIONS -mavx2 -mfma -mf16c)
      elseif(source MATCHES "(isa|direct)_avx512.cpp$")
        set_property(SOURCE ${source} APPEND PROPERTY COMPILE_OPTIONS ${avx512} ${quiet})
      elseif(source MATCHES "/isa_vnni.cpp$")
        set_property(SOURCE ${source} APPEND PROPERTY COMPILE_OPTIONS ${avx512} -mavx512vnni ${quiet})
      endif()
    endforeach()
  endif()
endfunction()
