#include <atomic>

#include "tcp.hpp"

using namespace dsgd;
using namespace dsgd::test;
using net::Numbers;
using server::AnswerKind;

namespace {

constexpr std::size_t kSize = 1000;

double first_of(const Numbers& numbers) { return std::get<1>(numbers)[0]; }

/// Passes bytes between workers and a server, and cuts all connections now and then.
class Cutter {
 public:
  explicit Cutter(std::uint16_t to) : to_(to) {
    gate_ = std::make_unique<Gate>([this](int from) { take(from); });
  }
  ~Cutter() {
    ending_ = true;
    gate_.reset();
    for (auto& pump : pumps_) pump.join();
  }
  Cutter(const Cutter&) = delete;
  Cutter& operator=(const Cutter&) = delete;
  [[nodiscard]] std::uint16_t port() const { return gate_->port(); }
  [[nodiscard]] std::size_t cuts() const { return cuts_; }

 private:
  void take(int from) {
    const int onward = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(to_);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::connect(onward, reinterpret_cast<const sockaddr*>(&address), sizeof address);  // NOLINT
    const std::size_t life = 700 + 1111 * (pumps_.size() % 7);                       // bytes
    pumps_.emplace_back([this, from, onward, life] { pump(from, onward, life); });
  }

  /// Both ways, until so many bytes have passed from the worker; then the connection breaks within a frame.
  void pump(int from, int onward, std::size_t life) {
    std::thread back([&] { copy(onward, from, std::size_t{1} << 40U); });
    copy(from, onward, life);
    ++cuts_;
    back.join();
    ::close(from);
    ::close(onward);
  }

  void copy(int from, int to, std::size_t life) const {
    std::vector<std::byte> bytes(1500);
    const timeval slice{0, 100'000};
    ::setsockopt(from, SOL_SOCKET, SO_RCVTIMEO, &slice, sizeof slice);
    for (std::size_t passed = 0; passed < life && !ending_;) {
      const ssize_t count = ::recv(from, bytes.data(), std::min(bytes.size(), life - passed), 0);
      if (count == 0) break;
      if (count < 0 && errno != EAGAIN) break;
      if (count < 0) continue;
      if (::send(to, bytes.data(), static_cast<std::size_t>(count), MSG_NOSIGNAL) != count) break;
      passed += static_cast<std::size_t>(count);
    }
    ::shutdown(from, SHUT_RDWR);
    ::shutdown(to, SHUT_RDWR);
  }

  std::uint16_t to_;
  std::atomic<bool> ending_ = false;
  std::atomic<std::size_t> cuts_ = 0;
  std::vector<std::thread> pumps_;
  std::unique_ptr<Gate> gate_;
};

}  // namespace

TEST_CASE("workers push, pull, finish clocks and leave over TCP, on one shard and on three") {
  for (const std::size_t n_shards : {std::size_t{1}, std::size_t{3}}) {
    std::vector<std::unique_ptr<net::TcpServer>> servers;
    std::vector<std::uint16_t> ports;
    for (std::size_t shard = 0; shard < n_shards; ++shard) {
      auto config = server_config(sums(kSize), 2);
      config.staleness = 0;
      config.shard = shard;
      config.n_shards = n_shards;
      ports.push_back(servers.emplace_back(serve(config))->port());
    }
    Worker one(0, sums(kSize), ports);
    Worker two(1, sums(kSize), ports);
    for (Worker* worker : {&one, &two}) {
      worker->join();
      worker->push(worker == &one ? 1.0 : 10.0, kSize);
      worker->client().clock(now(), {});
    }
    for (Worker* worker : {&one, &two}) {
      const Numbers numbers = worker->pull();
      CHECK(std::get<1>(numbers).size() == kSize);
      CHECK(first_of(numbers) == 11.0);
    }
    one.client().signal(now(), "stop");
    CHECK(two.wait_for(AnswerKind::signal).name == "stop");
    one.client().all_reduce(now(), {false, {}, std::vector<double>{1.0}}, false, 1);
    two.client().all_reduce(now(), {false, {}, std::vector<double>{2.0}}, false, 1);
    CHECK(first_of(one.wait_for(AnswerKind::all_reduce).values->data) == 3.0);
    CHECK(first_of(two.wait_for(AnswerKind::all_reduce).values->data) == 3.0);
    one.leave();
    two.leave();
    for (const auto& server : servers) CHECK(server->finished());
  }
}

TEST_CASE("what is pushed over connections that break is applied exactly once") {
  const auto server = serve(server_config(sums(kSize), 2));
  std::size_t cuts = 0;
  {
    const Cutter cutter(server->port());
    Worker one(0, sums(kSize), {cutter.port()});
    Worker two(1, sums(kSize), {cutter.port()});
    one.join();
    two.join();
    constexpr int kPushes = 60;
    for (int k = 0; k < kPushes; ++k) {  // whole numbers: their sum is exact
      for (Worker* worker : {&one, &two}) {
        worker->client().push(now(), "weights",
                              {true, {0, 1, 2, static_cast<std::uint64_t>(3 + k)}, std::vector<double>(4, 1.0)}, 1);
        if (k % 10 == 0) static_cast<void>(worker->pull());
      }
    }
    one.leave();
    two.leave();
    cuts = cutter.cuts();
    const auto sum = server->snapshot("weights");
    CHECK(std::get<1>(sum)[0] == 2.0 * kPushes);
    CHECK(std::get<1>(sum)[2] == 2.0 * kPushes);
    for (std::size_t k = 3; k < 3 + kPushes; ++k) CHECK(std::get<1>(sum)[k] == 2.0);
  }
  CHECK(cuts > 2);
}

TEST_CASE("a restarted server goes on at the same port from its checkpoint, and workers are told") {
  auto config = server_config(sums(kSize), 1);
  auto first = serve(config);
  const std::uint16_t port = first->port();
  Worker worker(0, sums(kSize), {port});
  worker.join();
  worker.push(1, kSize);
  worker.wait_for(AnswerKind::clock, worker.client().clock(now(), secret()));
  const auto saved = first->checkpoint();
  first.reset();
  config.incarnation = 2;
  net::TcpServerOptions options;
  options.token = secret();
  options.port = port;
  net::TcpServer second(config, options, &saved);
  second.start();
  const auto rewound = worker.wait_for(AnswerKind::rewound);
  CHECK(rewound.clocks.own == 1);
  CHECK(rewound.state == secret());
  CHECK(first_of(worker.pull()) == 1.0);
}

TEST_CASE("a worker that loses its server fails at its deadline, with the last fault in the message") {
  auto server = serve(server_config(sums(kSize)));
  server::ClientConfig config;
  config.deadline = 0.5;
  config.heartbeat_interval = 0.1;
  Worker worker(0, sums(kSize), {server->port()}, secret(), config);
  worker.join();
  server.reset();
  const auto failed = worker.wait_for(AnswerKind::failed);
  CHECK(failed.name == "deadline");
  CHECK(failed.message.find("127.0.0.1") != std::string::npos);
  CHECK_THROWS_AS(worker.push(1, kSize), Error);
}

TEST_CASE("letters go straight from worker to worker, large ones too, in both directions") {
  const auto server = serve(server_config(sums(kSize), 2));
  Worker one(0, sums(kSize), {server->port()});
  Worker two(1, sums(kSize), {server->port()});
  one.join();
  two.join();
  for (int k = 0; k < 20; ++k) {
    one.client().send(1, {false, {}, std::vector<double>(200'000, k)}, "big");
    two.client().send(0, {true, {7}, std::vector<float>{static_cast<float>(k)}}, "small");
  }
  for (int k = 0; k < 20; ++k) {
    const auto big = two.wait_for(AnswerKind::letter);
    CHECK(std::get<1>(big.values->data).size() == 200'000);
    CHECK(first_of(big.values->data) == k);
    CHECK(std::get<0>(one.wait_for(AnswerKind::letter).values->data)[0] == static_cast<float>(k));
  }
}

TEST_CASE("payloads with checksums and of 16 bits arrive, with half of the bytes") {
  std::uint64_t exact = 0;
  for (const net::Wire wire : {net::Wire::exact, net::Wire::bfloat16, net::Wire::float16}) {
    constexpr std::size_t kValues = 100'000;
    const std::vector<server::TableSpec> tables{
        {.name = "weights", .size = kValues, .dtype = net::DType::float32, .rule = server::Rule::add}};
    auto config = server_config(tables);
    config.payload_checksum = true;
    config.wire = wire;
    const auto server = serve(config);
    server::ClientConfig client;
    client.payload_checksum = true;
    client.wire = wire;
    Worker worker(0, tables, {server->port()}, secret(), client);
    worker.join();
    constexpr float kThird = 1.0F / 3;
    worker.client().push(now(), "weights", {false, {}, std::vector<float>(kValues, kThird)}, 1);
    const float pulled = std::get<0>(worker.pull())[kValues - 1];
    const std::uint64_t bytes = worker.client().bytes_sent() + worker.client().bytes_received();
    if (wire == net::Wire::exact) {
      CHECK(pulled == kThird);
      exact = bytes;
    } else {
      CHECK(pulled == (wire == net::Wire::float16 ? net::from_float16(net::to_float16(kThird))
                                                  : net::from_bfloat16(net::to_bfloat16(kThird))));
      CHECK(static_cast<double>(bytes) < 0.51 * static_cast<double>(exact));
    }
  }
}

TEST_CASE("under TLS with a key of the token everything works, and who speaks plainly is not served") {
  net::TcpServerOptions options;
  options.token = secret();
  options.tls.mode = net::TlsOptions::Mode::psk;
  net::TcpServer server(server_config(sums(kSize), 2), options);
  server.start();
  const auto connect = [&](std::uint32_t rank, const net::Bytes& token, bool tls) {
    server::ClientConfig config;
    config.deadline = tls ? kPatience : 0.5;
    return std::make_unique<Worker>(rank, sums(kSize), std::vector<std::uint16_t>{server.port()}, token, config,
                                    tls ? options.tls : net::TlsOptions{});
  };
  const auto one = connect(0, secret(), true);
  const auto two = connect(1, secret(), true);
  one->join();
  two->join();
  one->push(2, kSize);
  CHECK(first_of(one->pull()) == 2.0);
  one->client().send(1, {false, {}, std::vector<double>(300'000, 5)}, "");
  CHECK(first_of(two->wait_for(AnswerKind::letter).values->data) == 5.0);
  CHECK(connect(0, secret(), false)->wait_for(AnswerKind::failed).name == "deadline");
  Stranger plain(server.port());
  plain.send(encode(net::Greeting{}, 0, true));
  std::byte any{};
  const bool answered = plain.receive(any) && any == std::byte{'D'};
  CHECK_FALSE(answered);
}

TEST_CASE("a push waits while too much is unacknowledged, and goes on when the server is there") {
  // 300 MB without a server: the last push has to wait for the first.
  constexpr std::size_t kLarge = 12'500'000;  // 100 MB
  auto server = serve(server_config(sums(kLarge)));
  const std::uint16_t port = server->port();
  Worker worker(0, sums(kLarge), {port});
  worker.join();
  const auto saved = server->checkpoint();
  server.reset();
  std::atomic<int> pushed = 0;
  std::thread pusher([&] {
    for (int k = 0; k < 4; ++k, ++pushed) worker.push(1, kLarge);
  });
  while (pushed < 3) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  CHECK(pushed == 3);
  auto config = server_config(sums(kLarge));
  config.incarnation = 2;
  net::TcpServerOptions options;
  options.token = secret();
  options.port = port;
  net::TcpServer second(config, options, &saved);
  second.start();
  pusher.join();
  worker.wait_for(AnswerKind::rewound);  // what was not acknowledged is void
}
