// The parameter server on TCP. Calls that wait release the GIL, and check for signals at intervals.
#include <algorithm>  // for min
#include <chrono>     // for steady_clock

#include "dsgd/net/tcp_client.hpp"
#include "dsgd/net/tcp_server.hpp"
#include "server_types.hpp"

namespace dsgd::python {
namespace {

using net::ServerEvent;
using net::TcpClient;
using net::TcpServer;
using Release = py::call_guard<py::gil_scoped_release>;

constexpr const char* kTlsModes[] = {"none", "psk", "certificates"};
constexpr const char* kEvents[] = {"clock", "checkpoint", "members", "finished", "failed"};

net::Bytes token_of(const py::bytes& token) { return from_python(std::string_view(token)); }

/// Waits in intervals of kSlice seconds, and checks for signals after each, so that Ctrl-C works.
template <typename Waits>
auto wait_for(Waits& object, double timeout) {
  constexpr double kSlice = 0.1;
  const auto now = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  };
  const double end = now() + timeout;
  while (true) {
    const double left = std::max(end - now(), 0.0);
    auto found = [&] {
      const py::gil_scoped_release release;
      return object.wait(std::min(left, kSlice));
    }();
    if (!found.empty() || left <= kSlice) return found;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  }
}

/// Releases the GIL during a call that may wait or take long.
template <typename Call>
auto released(Call&& call) {
  const py::gil_scoped_release release;
  return call();
}

std::unique_ptr<TcpServer> make_server(
    std::vector<server::TableSpec> tables, std::uint32_t n_workers, const py::bytes& token, const std::string& host,
    std::uint16_t port, double staleness, std::size_t shard, std::size_t n_shards, std::uint64_t incarnation,
    double heartbeat_deadline, double join_deadline, const std::string& on_lost, bool payload_checksum,
    const std::optional<std::string>& wire_dtype, const std::optional<py::dict>& checkpoint,
    const std::vector<std::uint64_t>& snapshot_clocks, const std::string& snapshot_table,
    std::optional<std::uint64_t> checkpoint_every, const std::optional<net::TlsOptions>& tls, bool record_order) {
  server::ServerConfig config{std::move(tables),
                              n_workers,
                              staleness_of(staleness),
                              shard,
                              n_shards,
                              incarnation,
                              heartbeat_deadline,
                              join_deadline,
                              named<int>(kLost, on_lost, "on_lost") == 1,
                              payload_checksum,
                              wire_of(wire_dtype),
                              record_order};
  if (checkpoint_every == 0U) throw Error(ErrorCode::config, "checkpoint_every must be positive, or None");
  net::TcpServerOptions options{token_of(token), host, port, {}, snapshot_table, checkpoint_every.value_or(0), {}};
  if (tls) options.tls = *tls;
  options.snapshot_clocks.insert(snapshot_clocks.begin(), snapshot_clocks.end());
  std::optional<Checkpoint> saved;
  if (checkpoint) saved = checkpoint_of(*checkpoint);
  return std::make_unique<TcpServer>(std::move(config), std::move(options), saved ? &*saved : nullptr);
}

void register_event(py::module_& m) {
  py::class_<ServerEvent>(m, "ServerEvent", "An event of a server; see tcp_server.hpp.")
      .def_property_readonly("kind", [](const ServerEvent& self) { return name_of(kEvents, self.kind); })
      .def_readonly("time", &ServerEvent::time)
      .def_readonly("clock", &ServerEvent::clock)
      .def_property_readonly("values",
                             [](const ServerEvent& self) -> std::optional<py::array> {
                               if (!self.values) return std::nullopt;
                               return to_array(*self.values);
                             })
      .def_property_readonly("checkpoint",
                             [](const ServerEvent& self) -> std::optional<py::dict> {
                               if (!self.checkpoint) return std::nullopt;
                               return dict_of(*self.checkpoint);
                             })
      .def_readonly("message", &ServerEvent::message);
}

void register_tls(py::module_& m) {
  py::class_<net::TlsOptions>(m, "TlsConfig", "The encryption of connections; see tls.hpp.")
      .def(py::init([](const std::string& mode, std::string certificate, std::string key, std::string authority,
                       bool check_host) {
             return net::TlsOptions{named<net::TlsOptions::Mode>(kTlsModes, mode, "mode"), std::move(certificate),
                                    std::move(key), std::move(authority), check_host};
           }),
           py::arg("mode") = "psk", py::kw_only(), py::arg("certificate") = "", py::arg("key") = "",
           py::arg("authority") = "", py::arg("check_host") = true);
}

void register_tcp_server(py::module_& m) {
  py::class_<TcpServer>(m, "TcpServer", "One shard of the parameter server on TCP; see tcp_server.hpp.")
      .def(py::init(&make_server), py::arg("tables"), py::kw_only(), py::arg("n_workers"), py::arg("token"),
           py::arg("host") = "127.0.0.1", py::arg("port") = 0, py::arg("staleness") = 0.0, py::arg("shard") = 0,
           py::arg("n_shards") = 1, py::arg("incarnation") = 1, py::arg("heartbeat_deadline") = 30.0,
           py::arg("join_deadline") = 60.0, py::arg("on_lost") = "continue", py::arg("payload_checksum") = false,
           py::arg("wire_dtype") = py::none(), py::arg("checkpoint") = py::none(),
           py::arg("snapshot_clocks") = py::tuple(), py::arg("snapshot_table") = "weights",
           py::arg("checkpoint_every") = py::none(), py::arg("tls") = py::none(), py::arg("record_order") = false)
      .def_property_readonly("host", &TcpServer::host)
      .def_property_readonly("port", &TcpServer::port)
      .def("start", &TcpServer::start)
      .def("adopt", &TcpServer::adopt, py::arg("descriptor"), Release())
      .def("stop", &TcpServer::stop, py::arg("timeout") = 5.0, Release())
      .def("wait", &wait_for<TcpServer>, py::arg("timeout"))
      .def(
          "range",
          [](const TcpServer& self, const std::string& table) {
            const auto range = released([&] { return self.range(table); });
            return std::pair(range.begin, range.end);
          },
          py::arg("table"))
      .def(
          "assign",
          [](TcpServer& self, const std::string& table, const py::array& values) {
            self.assign(table, numbers_of(values, "values"));
          },
          py::arg("table"), py::arg("values"))
      .def(
          "snapshot",
          [](const TcpServer& self, const std::string& table) {
            return to_array(released([&] { return self.snapshot(table); }));
          },
          py::arg("table"))
      .def("checkpoint", [](const TcpServer& self) { return dict_of(released([&] { return self.checkpoint(); })); })
      .def("take_reports", &TcpServer::take_reports, Release())
      .def("take_order", &TcpServer::take_order, Release())
      .def_property_readonly("members", py::cpp_function(&TcpServer::members, Release()))
      .def_property_readonly("slowest",
                             [](const TcpServer& self) { return released([&] { return self.clocks(); }).slowest; })
      .def_property_readonly("fastest",
                             [](const TcpServer& self) { return released([&] { return self.clocks(); }).fastest; })
      .def_property_readonly("live", [](const TcpServer& self) { return released([&] { return self.clocks(); }).live; })
      .def_property_readonly("finished", py::cpp_function(&TcpServer::finished, Release()))
      .def_property_readonly("failed", py::cpp_function(&TcpServer::failed, Release()))
      .def_property_readonly("incarnation", py::cpp_function(&TcpServer::incarnation, Release()))
      .def_property_readonly("traffic", [](const TcpServer& self) {
        std::vector<std::tuple<std::uint32_t, std::uint64_t, std::uint64_t>> all;
        for (const auto& [worker, received, sent] : self.traffic()) all.emplace_back(worker, received, sent);
        return all;
      });
}

void register_tcp_client(py::module_& m) {
  using Array = py::array;
  using Keys = std::optional<py::array>;
  using Shards = std::vector<std::pair<std::string, std::uint16_t>>;
  py::class_<TcpClient>(m, "TcpClient", "One worker's side of the parameter server on TCP; see tcp_client.hpp.")
      .def(py::init([](std::uint32_t worker, std::vector<server::TableSpec> tables, Shards shards,
                       const py::bytes& token, std::optional<std::string> listen, std::optional<std::string> advertise,
                       double heartbeat_interval, double deadline, bool payload_checksum,
                       const std::optional<std::string>& wire_dtype, const std::optional<net::TlsOptions>& tls) {
             server::ClientConfig config;
             config.worker = worker;
             config.tables = std::move(tables);
             config.heartbeat_interval = heartbeat_interval;
             config.deadline = deadline;
             config.payload_checksum = payload_checksum;
             config.wire = wire_of(wire_dtype);
             net::TcpClientOptions options{
                 token_of(token), std::move(shards), std::move(listen), std::move(advertise), {}};
             if (tls) options.tls = *tls;
             return std::make_unique<TcpClient>(std::move(config), std::move(options));
           }),
           py::arg("worker"), py::arg("tables"), py::kw_only(), py::arg("shards"), py::arg("token"),
           py::arg("listen") = py::none(), py::arg("advertise") = py::none(), py::arg("heartbeat_interval") = 5.0,
           py::arg("deadline") = 60.0, py::arg("payload_checksum") = false, py::arg("wire_dtype") = py::none(),
           py::arg("tls") = py::none())
      .def("start", &TcpClient::start)
      .def("stop", &TcpClient::stop, py::arg("timeout") = 5.0, Release())
      .def("wait", &wait_for<TcpClient>, py::arg("timeout"))
      .def(
          "pull",
          [](TcpClient& self, double now, std::uint64_t clock, const std::string& table, const Keys& keys) {
            auto list = keys_of(keys);
            return released([&] { return self.pull(now, clock, table, list); });
          },
          py::arg("now"), py::arg("clock"), py::arg("table"), py::arg("keys") = py::none())
      .def(
          "push",
          [](TcpClient& self, double now, const std::string& table, const Array& values, const Keys& keys,
             double weight) {
            auto taken = values_of(values, keys);
            released([&] { self.push(now, table, std::move(taken), weight); });
          },
          py::arg("now"), py::arg("table"), py::arg("values"), py::arg("keys") = py::none(), py::arg("weight") = 1.0)
      .def(
          "clock",
          [](TcpClient& self, double now, const py::bytes& state) {
            auto bytes = from_python(std::string_view(state));
            return released([&] { return self.clock(now, std::move(bytes)); });
          },
          py::arg("now"), py::arg("state") = py::bytes())
      .def(
          "all_reduce",
          [](TcpClient& self, double now, const Array& values, bool mean, double weight) {
            auto taken = values_of(values, std::nullopt);
            return released([&] { return self.all_reduce(now, std::move(taken), mean, weight); });
          },
          py::arg("now"), py::arg("values"), py::kw_only(), py::arg("mean") = false, py::arg("weight") = 1.0)
      .def("signal", &TcpClient::signal, py::arg("now"), py::arg("name"), Release())
      .def(
          "report",
          [](TcpClient& self, double now, const py::bytes& metrics) {
            auto bytes = from_python(std::string_view(metrics));
            released([&] { self.report(now, std::move(bytes)); });
          },
          py::arg("now"), py::arg("metrics"))
      .def("leave", &TcpClient::leave, py::arg("now"), Release())
      .def(
          "send",
          [](TcpClient& self, std::uint32_t peer, const Array& values, const Keys& keys, const std::string& name) {
            auto taken = values_of(values, keys);
            released([&] { self.send(peer, std::move(taken), name); });
          },
          py::arg("peer"), py::arg("values"), py::arg("keys") = py::none(), py::arg("name") = "")
      .def_property_readonly("worker", py::cpp_function(&TcpClient::worker, Release()))
      .def_property_readonly("own_clock", py::cpp_function(&TcpClient::own_clock, Release()))
      .def_property_readonly("unacknowledged", py::cpp_function(&TcpClient::unacknowledged, Release()))
      .def_property_readonly("ready", py::cpp_function(&TcpClient::ready, Release()))
      .def_property_readonly("address", &TcpClient::address)
      .def_property_readonly("bytes_sent", &TcpClient::bytes_sent)
      .def_property_readonly("bytes_received", &TcpClient::bytes_received);
}

}  // namespace

void register_net(py::module_& m) {
  register_event(m);
  register_tls(m);
  register_tcp_server(m);
  register_tcp_client(m);
}

}  // namespace dsgd::python
