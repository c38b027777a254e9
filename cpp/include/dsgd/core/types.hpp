// The element types that the core is instantiated for.
#pragma once

#include <concepts>  // for same_as
#include <cstdint>   // for int32_t, int64_t

namespace dsgd {

template <typename T>
concept RealType = std::same_as<T, float> || std::same_as<T, double>;

template <typename T>
concept IndexType = std::same_as<T, std::int32_t> || std::same_as<T, std::int64_t>;

}  // namespace dsgd
