// Named signals, which the server sends to all workers. The board counts each signal, and its
// versions tell which signals a worker has missed.
#pragma once

#include <cstdint>  // for uint32_t, uint64_t
#include <map>      // for map
#include <string>   // for string

#include "dsgd/net/messages.hpp"

namespace dsgd::server {

class SignalBoard {
 public:
  static constexpr std::size_t kMaxNames = 1024;

  [[nodiscard]] std::uint64_t version() const noexcept { return version_; }

  /// Whether a signal of this name can be given.
  [[nodiscard]] bool has_room_for(const std::string& name) const {
    return signals_.contains(name) || signals_.size() < kMaxNames;
  }

  void give(const std::string& name, std::uint32_t worker, std::uint64_t clock) {
    net::SignalState& signal = signals_[name];
    signal = {name, signal.count + 1, worker, clock, ++version_};
  }

  /// The signals that changed after version `since`.
  [[nodiscard]] net::Signals since(std::uint64_t since) const {
    net::Signals message{since, {}};
    for (const auto& [_, signal] : signals_) {
      if (signal.version > since) message.changed.push_back(signal);
    }
    return message;
  }

  void restore(const net::SignalState& signal) {
    signals_[signal.name] = signal;
    version_ = std::max(version_, signal.version);
  }

 private:
  std::uint64_t version_ = 0;
  std::map<std::string, net::SignalState> signals_;
};

}  // namespace dsgd::server
