#include "peers.hpp"

#include <algorithm>  // for min
#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <chrono>   // for duration
#include <utility>  // for move

#include "backoff.hpp"
#include "io_thread.hpp"

namespace dsgd::net {

using asio::awaitable;

Peers::Peer& Peers::peer_of(std::uint32_t rank) {
  auto& peer = peers_[rank];
  if (!peer) peer = std::make_unique<Peer>(context_, rank);
  return *peer;
}

void Peers::send(std::uint32_t rank, std::vector<Frame> letter, double seconds) {
  std::size_t bytes = 0;
  for (const Frame& frame : letter) bytes += frame->size();
  std::unique_lock lock(mutex_);
  Peer& peer = peer_of(rank);
  const auto fits = [&] { return peer.gone || stopping_ || peer.bytes == 0 || peer.bytes + bytes <= kQueuedBytes; };
  if (!room_.wait_for(lock, std::chrono::duration<double>(seconds), fits)) {
    throw Error(ErrorCode::deadline, "worker " + std::to_string(rank) + " has taken no letter for " +
                                         std::to_string(seconds) + " s; " + std::to_string(peer.bytes) +
                                         " bytes wait for it");
  }
  if (peer.gone || stopping_) return;
  peer.letters.push_back(std::move(letter));
  peer.bytes += bytes;
  wake(peer);
}

void Peers::introduce(const std::vector<MemberState>& members) {
  const std::scoped_lock lock(mutex_);
  for (const MemberState& member : members) {
    if (member.worker == worker_) continue;
    Peer& peer = peer_of(member.worker);
    peer.gone = member.status == Status::lost || member.status == Status::left;
    peer.address = member.address;
    if (peer.gone) {
      peer.letters.clear();
      peer.bytes = 0;
    }
    if (peer.served) wake(peer);
  }
  room_.notify_all();
}

/// The caller holds the lock.
void Peers::wake(Peer& peer) {
  const bool begins = !std::exchange(peer.served, true);
  asio::post(context_, [this, &peer, begins] {
    peer.wake.cancel();
    if (begins) spawn(context_, serve(peer));
  });
}

bool Peers::over(const Peer& peer) {
  const std::scoped_lock lock(mutex_);
  return stopping_ && peer.letters.empty();
}

std::optional<std::vector<Frame>> Peers::next_letter(Peer& peer) {
  const std::scoped_lock lock(mutex_);
  if (peer.letters.empty() || peer.address.empty()) return std::nullopt;
  return peer.letters.front();
}

void Peers::delivered(Peer& peer) {
  const std::scoped_lock lock(mutex_);
  if (peer.letters.empty()) return;  // the peer has left in the meantime
  for (const Frame& frame : peer.letters.front()) peer.bytes -= frame->size();
  peer.letters.pop_front();
  room_.notify_all();
}

/// Delivers the letters of a peer. Connects again if a connection breaks.
awaitable<void> Peers::serve(Peer& peer) {
  Backoff backoff;
  while (!over(peer)) {
    asio::error_code ignored;
    if (!next_letter(peer)) {
      co_await peer.wake.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
      continue;
    }
    bool broken = false;
    try {
      co_await deliver(peer);
    } catch (const std::exception&) {
      broken = true;  // the letter stays first in its queue
    }
    if (peer.connection) {
      backoff.reset();
      peer.connection->close();
      peer.connection.reset();
    }
    if (!broken || drop_at_end(peer)) continue;
    peer.pause.expires_after(backoff.next());
    co_await peer.pause.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
}

/// After `stop`, drops the letters of a peer whose connection has broken. Returns whether it did.
bool Peers::drop_at_end(Peer& peer) {
  const std::scoped_lock lock(mutex_);
  if (stopping_) peer.letters.clear();
  return stopping_;
}

/// Delivers letters over one connection. Returns when everything is delivered after `stop`; throws
/// if the connection breaks.
awaitable<void> Peers::deliver(Peer& peer) {
  HostAndPort address;
  {
    const std::scoped_lock lock(mutex_);
    address = split_address(peer.address);
  }
  peer.connection = co_await connect(address, kHandshakeSeconds);
  peer.connection->count_in(traffic_);
  const Introduction who{Purpose::letters, worker_, peer.rank};
  co_await net::introduce(peer.connection, token_, tls_, address.host, who);
  spawn(context_, watch(peer.connection, peer));
  while (!over(peer)) {
    if (!peer.connection->open()) malformed("the peer has closed the connection");
    if (const auto letter = next_letter(peer)) {
      co_await peer.connection->write(*letter);
      delivered(peer);
      continue;
    }
    asio::error_code ignored;
    co_await peer.wake.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  co_await peer.connection->end();
}

/// Waits for the end of the connection. The peer sends nothing on it, so that a read returns only
/// at the end.
awaitable<void> Peers::watch(std::shared_ptr<Connection> connection, Peer& peer) {
  try {
    static_cast<void>(co_await connection->receive_handshake());
  } catch (const std::exception&) {
    connection->close();
  }
  connection->close();
  peer.wake.cancel();
}

void Peers::stop(double seconds) {
  const std::scoped_lock lock(mutex_);
  stopping_ = true;
  room_.notify_all();
  for (const auto& [_, peer] : peers_) {
    if (!peer->connection) peer->letters.clear();  // no new connections
    if (peer->connection) peer->connection->close_after(seconds);
    peer->wake.cancel();
    peer->pause.cancel();
  }
}

}  // namespace dsgd::net
