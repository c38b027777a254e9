// The element types that the core is instantiated for.
#pragma once

#include <concepts>  // for same_as

namespace dsgd {

template <typename T>
concept RealType = std::same_as<T, float> || std::same_as<T, double>;

}  // namespace dsgd
