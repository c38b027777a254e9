// The templates of ParameterServer that send messages. Its source files share them.
#pragma once

#include "dsgd/server/server.hpp"

namespace dsgd::server {

template <typename Body>
void ParameterServer::send(ConnectionId connection, const Body& body, std::uint64_t request, net::Wire wire) {
  for (auto& frame : net::encode(body, request, config_.payload_checksum, wire)) {
    effects_.push_back({connection, std::move(frame)});
  }
}

template <typename Body>
void ParameterServer::send_to(const Worker& worker, const Body& body, std::uint64_t request, net::Wire wire) {
  if (worker.connection) send(*worker.connection, body, request, wire);
}

template <typename Body>
void ParameterServer::broadcast(const Body& body) {
  const auto frames = net::encode(body, 0, config_.payload_checksum);
  for (const auto& [_, worker] : workers_) {
    if (!worker.connection) continue;
    for (const auto& frame : frames) effects_.push_back({*worker.connection, frame});
  }
}

}  // namespace dsgd::server
