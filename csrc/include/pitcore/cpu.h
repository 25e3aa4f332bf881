// Features of the processor.
#pragma once

namespace pitcore {

// True on x86-64 without VNNI: ONNX Runtime's int8 kernels there add pairs of uint8 x int8 products in 16 bits, which
// saturate, so that a network's output differs from that of every other machine.
bool int8_products_saturate() noexcept;

#if defined(__x86_64__)
// True if the processor has AVX2 and the operating system saves its registers.
bool has_avx2() noexcept;
#endif

}  // namespace pitcore
