// Types and functions that the bindings of the state machines (register_server.cpp) and of TCP
// (register_net.cpp) share.
#pragma once

#include <cmath>        // for floor, isinf
#include <memory>       // for unique_ptr
#include <optional>     // for optional
#include <string_view>  // for string_view

#include "dsgd/server/client.hpp"
#include "dsgd/server/server.hpp"
#include "pybind.hpp"

namespace dsgd::python {

using server::Checkpoint;

/// Names of the enumerations as Python writes them, in the order of their values.
inline constexpr const char* kWires[] = {"exact", "float16", "bfloat16"};
inline constexpr const char* kDTypes[] = {"float32", "float64"};
inline constexpr const char* kRules[] = {"add", "add_scaled", "replace_mean", "average", "adagrad", "blend"};
inline constexpr const char* kStatuses[] = {"unknown", "expected", "live", "lost", "left"};
inline constexpr const char* kLost[] = {"continue", "fail"};
inline constexpr const char* kKinds[] = {"joined", "rewound", "pull",    "clock",  "all_reduce",
                                         "left",   "signal",  "members", "letter", "failed"};

inline py::bytes to_python(net::ByteSpan bytes) {
  // NOLINTNEXTLINE: the byte type of Python
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline net::Bytes from_python(const std::string_view bytes) {
  const auto span = std::as_bytes(std::span(bytes));
  return {span.begin(), span.end()};
}

template <typename T>
py::array_t<T> to_array(const std::vector<T>& values) {
  return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

/// An array on the memory of `values`. It keeps the memory alive.
template <typename Real>
py::array to_array(const net::Array<Real>& values) {
  auto owner = std::make_unique<net::Owner>(values.owner());
  const py::capsule keeps(owner.get(), [](void* kept) { std::unique_ptr<net::Owner>(static_cast<net::Owner*>(kept)); });
  static_cast<void>(owner.release());  // the capsule owns it now
  return py::array_t<Real>(static_cast<py::ssize_t>(values.size()), values.data(), keeps);
}

inline py::array to_array(const net::Numbers& numbers) {
  return std::visit([](const auto& values) { return to_array(values); }, numbers);
}

template <typename T>
std::vector<T> copied(const py::array& array, const char* name) {
  const auto span = array_span<const T>(array, name);
  return {span.begin(), span.end()};
}

inline net::Numbers numbers_of(const py::array& array, const char* name) {
  if (py::isinstance<py::array_t<float>>(array)) return net::Array<float>(array_span<const float>(array, name));
  return net::Array<double>(array_span<const double>(array, name));
}

inline std::optional<net::Keys> keys_of(const std::optional<py::array>& keys) {
  if (!keys) return std::nullopt;
  return copied<std::uint64_t>(*keys, "keys");
}

inline net::Values values_of(const py::array& values, const std::optional<py::array>& keys) {
  auto list = keys_of(keys);
  const bool sparse = list.has_value();
  return {sparse, sparse ? std::move(*list) : net::Keys(), numbers_of(values, "values")};
}

inline py::dict dict_of(const Checkpoint& checkpoint) {
  py::dict dict;
  for (const auto& [name, array] : checkpoint) {
    dict[py::str(name)] = std::visit(
        []<typename T>(const std::vector<T>& values) -> py::array {
          if constexpr (std::same_as<T, std::byte>) {
            return py::array_t<std::uint8_t>(static_cast<py::ssize_t>(values.size()),
                                             reinterpret_cast<const std::uint8_t*>(values.data()));  // NOLINT
          } else {
            return to_array(values);
          }
        },
        array);
  }
  return dict;
}

inline Checkpoint checkpoint_of(const py::dict& dict) {
  Checkpoint checkpoint;
  for (const auto& [key, value] : dict) {
    const auto name = key.cast<std::string>();
    const auto array = value.cast<py::array>();
    if (py::isinstance<py::array_t<float>>(array)) {
      checkpoint[name] = copied<float>(array, name.c_str());
    } else if (py::isinstance<py::array_t<double>>(array)) {
      checkpoint[name] = copied<double>(array, name.c_str());
    } else if (py::isinstance<py::array_t<std::uint8_t>>(array)) {
      const auto bytes = std::as_bytes(array_span<const std::uint8_t>(array, name.c_str()));
      checkpoint[name] = std::vector<std::byte>(bytes.begin(), bytes.end());
    } else {
      checkpoint[name] = copied<std::uint64_t>(array, name.c_str());
    }
  }
  return checkpoint;
}

/// None means that numbers are sent exactly.
inline net::Wire wire_of(const std::optional<std::string>& dtype) {
  return dtype ? named<net::Wire>(kWires, *dtype, "wire_dtype") : net::Wire::exact;
}

/// Infinity means asynchronous.
inline std::optional<std::uint64_t> staleness_of(double staleness) {
  if (std::isinf(staleness) && staleness > 0) return std::nullopt;
  constexpr double kMost = 1e9;
  if (!(staleness >= 0) || staleness > kMost || staleness != std::floor(staleness)) {
    throw Error(ErrorCode::config,
                "staleness must be a whole number of clocks, or infinite; not " + std::to_string(staleness));
  }
  return static_cast<std::uint64_t>(staleness);
}

}  // namespace dsgd::python
