// Memory that an object allocates once, in its constructor.
#pragma once

#include <cstddef>
#include <new>

#include "pitcore/image_view.h"

namespace pitcore {

// An uninitialised array of trivial T, aligned to `alignment_bytes`. Check it after construction:
// a failed allocation leaves it false.
template <class T>
class Buffer {
 public:
  Buffer() noexcept = default;
  explicit Buffer(std::size_t count) noexcept
      : data_(static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t{alignment_bytes}, std::nothrow))) {}
  ~Buffer() { ::operator delete(data_, std::align_val_t{alignment_bytes}); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  Buffer(Buffer&& other) noexcept : data_(other.data_) { other.data_ = nullptr; }
  Buffer& operator=(Buffer&& other) noexcept {
    T* const mine = data_;
    data_ = other.data_;
    other.data_ = mine;
    return *this;
  }

  explicit operator bool() const noexcept { return data_ != nullptr; }
  T* data() noexcept { return data_; }
  const T* data() const noexcept { return data_; }
  T& operator[](std::size_t i) noexcept { return data_[i]; }
  const T& operator[](std::size_t i) const noexcept { return data_[i]; }

 private:
  T* data_ = nullptr;
};

}  // namespace pitcore
