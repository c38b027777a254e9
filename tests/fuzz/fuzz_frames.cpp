// Any bytes as frames: to the decoder, and to a server and a client in the middle of a run. The first byte says how the
// rest is read: as raw frames, or as a list of small orders that build valid frames in odd sequences.
#include <algorithm>  // for min
#include <cstddef>    // for size_t
#include <cstdint>    // for uint64_t, uint8_t
#include <cstring>    // for memcpy
#include <optional>   // for optional
#include <span>       // for span
#include <vector>     // for vector

#include "check.hpp"
#include "dsgd/core/error.hpp"
#include "dsgd/server/client.hpp"
#include "dsgd/server/server.hpp"

namespace {

using namespace dsgd::net;
using namespace dsgd::server;
using dsgd::fuzz::check;

constexpr std::uint64_t kRows = 6;

std::vector<TableSpec> tables() {
  return {{.name = "sum", .size = kRows, .rule = Rule::add_scaled},
          {.name = "mean", .size = kRows, .dtype = DType::float32, .rule = Rule::replace_mean, .width = 2},
          {.name = "round", .size = kRows, .rule = Rule::average}};
}

/// Bytes, one number after the other; zeros at the end.
class Source {
 public:
  explicit Source(std::span<const std::uint8_t> bytes) : left_(bytes) {}
  [[nodiscard]] bool empty() const { return left_.empty(); }
  std::uint8_t next() {
    if (left_.empty()) return 0;
    const std::uint8_t value = left_.front();
    left_ = left_.subspan(1);
    return value;
  }
  ByteSpan take(std::size_t count) {
    const auto taken = left_.first(std::min(count, left_.size()));
    left_ = left_.subspan(taken.size());
    return std::as_bytes(taken);
  }

 private:
  std::span<const std::uint8_t> left_;
};

/// What does not throw a protocol error is written again as it was read.
template <typename Body>
void check_decode(ByteSpan bytes) {
  try {
    const auto body = decode<Body>(bytes);
    const auto frames = encode(body, 0, true);
    check(frames.size() == 1, "a short message is one frame");
    const Bytes once = frames[0]->flat();
    const auto again = decode<Body>(parse_frame(once).payload);
    check(encode(again, 0, true)[0]->flat() == once, "what was read is written alike");
  } catch (const dsgd::Error& error) {
    check(error.code() == dsgd::ErrorCode::protocol, "malformed bytes are a protocol error");
  }
}

void check_decoders(ByteSpan bytes) {
  check_decode<Hello>(bytes);
  check_decode<Welcome>(bytes);
  check_decode<Push>(bytes);
  check_decode<ClockTick>(bytes);
  check_decode<AllReduce>(bytes);
  check_decode<Acknowledge>(bytes);
  check_decode<Pull>(bytes);
  check_decode<PullAnswer>(bytes);
  check_decode<Signals>(bytes);
  check_decode<Members>(bytes);
  check_decode<Letter>(bytes);
  check_decode<Failure>(bytes);
  try {
    static_cast<void>(parse_frame(bytes));
  } catch (const dsgd::Error& error) {
    check(error.code() == dsgd::ErrorCode::protocol, "malformed frames are a protocol error");
  }
}

ServerConfig server_config() {
  ServerConfig config;
  config.tables = tables();
  config.n_workers = 2;
  config.staleness = 0;
  return config;
}

std::optional<Welcome> welcome_of(const Effects& effects) {
  for (const auto& effect : effects) {
    if (!effect.frame) continue;
    const Bytes frame = effect.frame->flat();
    const auto view = parse_frame(frame);
    if (view.header.type == MessageType::welcome) return decode<Welcome>(view.payload);
  }
  return std::nullopt;
}

Values values_of(Source& source, bool single) {
  Values values;
  values.sparse = source.next() % 2 == 1;
  std::uint64_t key = 0;
  for (auto count = source.next() % 4; values.sparse && count > 0; --count)
    values.keys.push_back(key += 1U + source.next() % 4U);
  const std::size_t size = source.next() % 3 == 0 ? source.next() % 16 : (values.sparse ? values.keys.size() : kRows);
  if (single) {
    values.data = std::vector<float>(size * 2, 1.0F);
  } else {
    values.data = std::vector<double>(size, 1.0);
  }
  return values;
}

/// Valid frames in any order, some of them wrong in what they mean.
class OddPeer {
 public:
  OddPeer() : server_(0.0, server_config()) {}

  void run(Source source) {
    while (!source.empty()) order(source);
    const auto saved = server_.checkpoint();
    auto config = server_config();
    config.incarnation = 2;
    const ParameterServer restored(now_, config, saved);
    check(restored.clock().slowest() <= server_.clock().fastest() || server_.clock().empty(), "clocks are restored");
  }

 private:
  void order(Source& source) {
    const std::uint8_t what = source.next();
    const ConnectionId id = source.next() % 4;
    const std::uint32_t rank = source.next() % 3;
    const Stamp stamp{1, rank, source.next() % 8U, source.next() % 16U};
    switch (what % 14) {
      case 0:
        return take(server_.connected(now_, id));
      case 1:
        return take(server_.disconnected(now_, id));
      case 2:
        return hello(id, rank, source);
      case 3:
        return give(id, Push{stamp, static_cast<std::uint16_t>(source.next() % 4), 1.0,
                             values_of(source, source.next() % 2 == 0)});
      case 4:
        return give(id, ClockTick{stamp, Bytes(source.next() % 3)});
      case 5:
        return give(id, AllReduce{stamp, source.next() % 3U, source.next() % 2 == 0, 1.0, values_of(source, false)});
      case 6:
        return give(id, Signal{stamp, "s"});
      case 7:
        return give(id, Report{stamp, {}});
      case 8:
        return give(id, Leave{stamp});
      case 9:
        return give(id, Pull{1,
                             session_[rank],
                             stamp.clock,
                             stamp.sequence,
                             static_cast<std::uint16_t>(source.next() % 4),
                             source.next() % 2 == 1,
                             {source.next() % 8U}});
      case 10:
        return give(id, Collect{1, session_[rank], source.next() % 3U});
      case 11:
        return give(id, Heartbeat{1, session_[rank], 0, 0});
      case 12:
        now_ += source.next();
        return take(server_.tick(now_));
      default:
        return take(server_.receive(now_, id, source.take(source.next())));
    }
  }

  template <typename Body>
  void give(ConnectionId id, const Body& body) {
    for (const auto& frame : encode(body, next_request_++, false)) take(server_.receive(now_, id, frame->flat()));
  }

  void hello(ConnectionId id, std::uint32_t rank, Source& source) {
    const Hello hello{1,
                      source.next() % 2 == 0 ? 0 : session_[rank],
                      source.next() % 2 == 0,
                      rank,
                      source.next() % 8U,
                      layout_of(tables(), 1),
                      ""};
    const auto effects = server_.receive(now_, id, encode(hello, next_request_++, false)[0]->flat());
    if (const auto welcome = welcome_of(effects)) session_[rank] = welcome->session;
    take(effects);
  }

  void take(const Effects& effects) {
    check(effects.size() < 64, "a small message has few effects");
    for (const auto& effect : effects) {
      if (effect.frame) static_cast<void>(parse_frame(effect.frame->flat()));
    }
  }

  ParameterServer server_;
  double now_ = 0;
  std::uint64_t next_request_ = 1;
  std::uint64_t session_[3] = {0, 0, 0};
};

/// A client that has joined, given anything.
void check_client(ByteSpan bytes) {
  ClientConfig config;
  config.tables = tables();
  Client client(0.0, config);
  client.connected(0.0, 0);
  const auto hello = client.take_outgoing();
  const std::uint64_t request = parse_frame(hello[0].frame->flat()).header.request;
  client.receive(0.0, 0, encode(Welcome{1, 9, 0, {}, 0, {}}, request, false)[0]->flat());
  check(client.ready(), "a welcome lets the client join");
  const std::uint64_t pull = client.pull(0.0, 0, "sum", std::nullopt);
  for (std::uint8_t type = 1; type <= kLastType && client.ready(); ++type) {
    MessageWriter writer(static_cast<MessageType>(type), pull, false);
    writer.put_bytes(bytes);
    client.receive(0.0, 0, writer.finish()[0]->flat());
    client.connected(0.0, 0);
  }
  client.receive(0.0, 0, bytes);
  client.tick(1.0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > 4096) return 0;
  const std::vector<std::uint8_t> bytes(data + 1,
                                        data + size);  // of exactly this size, so that a sanitizer sees its end
  if (data[0] % 2 == 0) {
    check_decoders(std::as_bytes(std::span(bytes)));
    check_client(std::as_bytes(std::span(bytes)));
  } else {
    OddPeer().run(Source(bytes));
  }
  return 0;
}
