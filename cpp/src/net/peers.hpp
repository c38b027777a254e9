// Sends letters to other workers, with a queue and a connection for each.
#pragma once

#include <asio/awaitable.hpp>     // for awaitable
#include <asio/io_context.hpp>    // for io_context
#include <asio/steady_timer.hpp>  // for steady_timer
#include <condition_variable>     // for condition_variable
#include <cstdint>                // for uint32_t
#include <deque>                  // for deque
#include <map>                    // for map
#include <memory>                 // for shared_ptr, unique_ptr
#include <mutex>                  // for mutex
#include <optional>               // for optional
#include <string>                 // for string
#include <vector>                 // for vector

#include "connection.hpp"
#include "dsgd/net/auth.hpp"

namespace dsgd::net {

class Peers {
 public:
  /// Most bytes of letters that may wait for one peer.
  static constexpr std::size_t kQueuedBytes = std::size_t{64} << 20U;

  Peers(asio::io_context& context, std::uint32_t worker, const Token& token, Tls& tls, std::shared_ptr<Traffic> traffic)
      : context_(context), worker_(worker), token_(token), tls_(tls), traffic_(std::move(traffic)) {}

  /// Any thread. Queues a letter. Waits for room in the queue for at most `seconds`, and then
  /// throws Error(deadline). Drops letters to workers that have left or are lost.
  void send(std::uint32_t peer, std::vector<Frame> letter, double seconds);
  /// Any thread. Takes in the addresses and states of the members.
  void introduce(const std::vector<MemberState>& members);
  /// To be called by the thread that runs the context. Ends the coroutines when the queues are
  /// written, or after `seconds`.
  void stop(double seconds);

 private:
  struct Peer {
    Peer(asio::io_context& context, std::uint32_t number)
        : rank(number), wake(context, std::chrono::steady_clock::time_point::max()), pause(context) {}

    std::uint32_t rank;
    std::string address;
    bool gone = false;
    bool served = false;  // whether its coroutine runs
    std::deque<std::vector<Frame>> letters;
    std::size_t bytes = 0;
    std::shared_ptr<Connection> connection;
    asio::steady_timer wake;   // cancelled when there is work
    asio::steady_timer pause;  // before the next attempt to connect
  };

  Peer& peer_of(std::uint32_t rank);
  void wake(Peer& peer);
  asio::awaitable<void> serve(Peer& peer);
  asio::awaitable<void> deliver(Peer& peer);
  asio::awaitable<void> watch(std::shared_ptr<Connection> connection, Peer& peer);
  [[nodiscard]] std::optional<std::vector<Frame>> next_letter(Peer& peer);
  void delivered(Peer& peer);
  bool drop_at_end(Peer& peer);
  [[nodiscard]] bool over(const Peer& peer);

  asio::io_context& context_;
  std::uint32_t worker_;
  const Token& token_;
  Tls& tls_;
  std::shared_ptr<Traffic> traffic_;
  std::mutex mutex_;
  std::condition_variable room_;
  std::map<std::uint32_t, std::unique_ptr<Peer>> peers_;
  bool stopping_ = false;
};

}  // namespace dsgd::net
