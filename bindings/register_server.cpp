// The parameter server's state machines; see docs/server.md. Only one thread at a time may use a
// machine. The calls keep the GIL, which guarantees this; they are short.
#include <optional>  // for optional

#include "dsgd/server/mailbox.hpp"
#include "dsgd/server/shared_mailbox.hpp"
#include "server_types.hpp"

namespace dsgd::python {
namespace {

using server::Answer;
using server::Client;
using server::Mailbox;
using server::MailboxLetter;
using server::ParameterServer;
using server::SharedMailbox;
using server::TableSpec;

constexpr const char* kOnFull[] = {"overwrite", "sum"};

net::ByteSpan bytes_of(const py::buffer_info& info) {
  if (info.ndim != 1 || info.itemsize != 1 || (info.size > 1 && info.strides[0] != 1)) {
    throw Error(ErrorCode::config, "a frame is bytes");
  }
  return {static_cast<const std::byte*>(info.ptr), static_cast<std::size_t>(info.size)};
}

/// (connection, frame) pairs; None closes the connection.
template <typename Items, typename Target>
py::list frames_of(const Items& items, Target&& target) {
  py::list list;
  for (const auto& item : items) {
    py::object frame = py::none();
    if (item.frame) frame = to_python(item.frame->flat());
    list.append(py::make_tuple(target(item), std::move(frame)));
  }
  return list;
}

py::list effects_of(const server::Effects& effects) {
  return frames_of(effects, [](const server::Effect& effect) { return effect.connection; });
}

std::unique_ptr<ParameterServer> make_server(double now, std::vector<TableSpec> tables, std::uint32_t n_workers,
                                             double staleness, std::size_t shard, std::size_t n_shards,
                                             std::uint64_t incarnation, double heartbeat_deadline, double join_deadline,
                                             const std::string& on_lost, bool payload_checksum,
                                             const std::optional<std::string>& wire_dtype,
                                             const std::optional<py::dict>& checkpoint) {
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
                              wire_of(wire_dtype)};
  if (!checkpoint) return std::make_unique<ParameterServer>(now, std::move(config));
  return std::make_unique<ParameterServer>(now, std::move(config), checkpoint_of(*checkpoint));
}

void register_table_spec(py::module_& m) {
  py::class_<TableSpec>(m, "TableSpec", "The specification of a table; see table_spec.hpp.")
      .def(py::init([](std::string name, std::uint64_t size, const std::string& dtype, const std::string& rule,
                       std::uint64_t width, double step_size) {
             TableSpec spec{std::move(name),
                            size,
                            named<net::DType>(kDTypes, dtype, "dtype"),
                            named<server::Rule>(kRules, rule, "rule"),
                            width,
                            step_size};
             server::check_tables(std::span<const TableSpec>(&spec, 1));
             return spec;
           }),
           py::arg("name"), py::arg("size"), py::kw_only(), py::arg("dtype") = "float64", py::arg("rule") = "add",
           py::arg("width") = 1, py::arg("step_size") = 1.0)
      .def_readonly("name", &TableSpec::name)
      .def_readonly("size", &TableSpec::size)
      .def_property_readonly("dtype", [](const TableSpec& self) { return name_of(kDTypes, self.dtype); })
      .def_property_readonly("rule", [](const TableSpec& self) { return name_of(kRules, self.rule); })
      .def_readonly("width", &TableSpec::width)
      .def_readonly("step_size", &TableSpec::step_size);
}

void register_records(py::module_& m) {
  py::class_<net::MemberState>(m, "Member", "A worker as the server sees it.")
      .def_readonly("worker", &net::MemberState::worker)
      .def_property_readonly("status", [](const net::MemberState& self) { return name_of(kStatuses, self.status); })
      .def_readonly("clock", &net::MemberState::clock)
      .def_readonly("address", &net::MemberState::address);

  py::class_<server::ReportEntry>(m, "Report", "What a worker has reported.")
      .def_readonly("worker", &server::ReportEntry::worker)
      .def_readonly("clock", &server::ReportEntry::clock)
      .def_readonly("time", &server::ReportEntry::time)
      .def_property_readonly("metrics", [](const server::ReportEntry& self) { return to_python(self.metrics); });

  py::class_<Answer>(m, "Answer", "What a client has to say to its program; `kind` says which fields count.")
      .def_property_readonly("kind", [](const Answer& self) { return name_of(kKinds, self.kind); })
      .def_readonly("request", &Answer::request)
      .def_property_readonly("values",
                             [](const Answer& self) -> std::optional<py::array> {
                               if (!self.values) return std::nullopt;
                               return to_array(self.values->data);
                             })
      .def_property_readonly("keys",
                             [](const Answer& self) -> std::optional<py::array> {
                               if (!self.values || !self.values->sparse) return std::nullopt;
                               return to_array(self.values->keys);
                             })
      .def_property_readonly("clock", [](const Answer& self) { return self.clocks.own; })
      .def_property_readonly("slowest", [](const Answer& self) { return self.clocks.slowest; })
      .def_property_readonly("fastest", [](const Answer& self) { return self.clocks.fastest; })
      .def_property_readonly("live", [](const Answer& self) { return self.clocks.live; })
      .def_readonly("worker", &Answer::worker)
      .def_readonly("name", &Answer::name)
      .def_readonly("count", &Answer::count)
      .def_property_readonly("state", [](const Answer& self) { return to_python(self.state); })
      .def_readonly("members", &Answer::members)
      .def_readonly("message", &Answer::message);
}

void register_machine(py::module_& m) {
  py::class_<ParameterServer>(m, "Server", "One shard of the parameter server; see server.hpp.")
      .def(py::init(&make_server), py::arg("now"), py::arg("tables"), py::kw_only(), py::arg("n_workers"),
           py::arg("staleness") = 0.0, py::arg("shard") = 0, py::arg("n_shards") = 1, py::arg("incarnation") = 1,
           py::arg("heartbeat_deadline") = 30.0, py::arg("join_deadline") = 60.0, py::arg("on_lost") = "continue",
           py::arg("payload_checksum") = false, py::arg("wire_dtype") = py::none(), py::arg("checkpoint") = py::none())
      .def(
          "connected",
          [](ParameterServer& self, double now, std::uint64_t connection) {
            return effects_of(self.connected(now, connection));
          },
          py::arg("now"), py::arg("connection"))
      .def(
          "disconnected",
          [](ParameterServer& self, double now, std::uint64_t connection) {
            return effects_of(self.disconnected(now, connection));
          },
          py::arg("now"), py::arg("connection"))
      .def(
          "receive",
          [](ParameterServer& self, double now, std::uint64_t connection, const py::buffer& frame) {
            const auto info = frame.request();
            return effects_of(self.receive(now, connection, bytes_of(info)));
          },
          py::arg("now"), py::arg("connection"), py::arg("frame"))
      .def(
          "tick", [](ParameterServer& self, double now) { return effects_of(self.tick(now)); }, py::arg("now"))
      .def("next_deadline", &ParameterServer::next_deadline)
      .def(
          "range",
          [](ParameterServer& self, const std::string& table) {
            const auto range = self.table(table).range();
            return std::pair(range.begin, range.end);
          },
          py::arg("table"))
      .def(
          "assign",
          [](ParameterServer& self, const std::string& table, const py::array& values) {
            self.table(table).assign(numbers_of(values, "values"));
          },
          py::arg("table"), py::arg("values"))
      .def(
          "snapshot",
          [](ParameterServer& self, const std::string& table) {
            return to_array(self.table(table).read(std::nullopt));
          },
          py::arg("table"))
      .def("checkpoint", [](const ParameterServer& self) { return dict_of(self.checkpoint()); })
      .def("take_reports", &ParameterServer::take_reports)
      .def_property_readonly("members", &ParameterServer::members)
      .def_property_readonly("slowest", [](const ParameterServer& self) { return self.clock().slowest(); })
      .def_property_readonly("fastest", [](const ParameterServer& self) { return self.clock().fastest(); })
      .def_property_readonly("live", [](const ParameterServer& self) { return self.clock().size(); })
      .def_property_readonly("finished", &ParameterServer::finished)
      .def_property_readonly("failed",
                             [](const ParameterServer& self) -> std::optional<std::string> {
                               if (!self.failure()) return std::nullopt;
                               return self.failure()->message;
                             })
      .def_property_readonly("incarnation", &ParameterServer::incarnation);
}

void register_client(py::module_& m) {
  using Array = py::array;
  using Keys = std::optional<py::array>;
  py::class_<Client>(m, "Client", "One worker's side of the parameter server; see client.hpp.")
      .def(py::init([](double now, std::uint32_t worker, std::vector<TableSpec> tables, std::size_t n_shards,
                       std::string address, double heartbeat_interval, double resend_after, double deadline,
                       bool payload_checksum, const std::optional<std::string>& wire_dtype) {
             return Client(now, {worker, std::move(tables), n_shards, std::move(address), heartbeat_interval,
                                 resend_after, deadline, payload_checksum, wire_of(wire_dtype)});
           }),
           py::arg("now"), py::arg("worker"), py::arg("tables"), py::kw_only(), py::arg("n_shards") = 1,
           py::arg("address") = "", py::arg("heartbeat_interval") = 5.0, py::arg("resend_after") = 1.0,
           py::arg("deadline") = 60.0, py::arg("payload_checksum") = false, py::arg("wire_dtype") = py::none())
      .def("connected", &Client::connected, py::arg("now"), py::arg("shard"))
      .def("disconnected", &Client::disconnected, py::arg("now"), py::arg("shard"), py::arg("why") = "")
      .def("give_up", &Client::give_up, py::arg("kind"), py::arg("message"))
      .def(
          "receive",
          [](Client& self, double now, std::size_t shard, const py::buffer& frame) {
            const auto info = frame.request();
            self.receive(now, shard, bytes_of(info));
          },
          py::arg("now"), py::arg("shard"), py::arg("frame"))
      .def("tick", &Client::tick, py::arg("now"))
      .def("next_deadline", &Client::next_deadline)
      .def("take_frames",
           [](Client& self) {
             return frames_of(self.take_outgoing(), [](const server::Outgoing& out) { return out.shard; });
           })
      .def("take_answers", &Client::take_answers)
      .def(
          "pull",
          [](Client& self, double now, std::uint64_t clock, const std::string& table, const Keys& keys) {
            return self.pull(now, clock, table, keys_of(keys));
          },
          py::arg("now"), py::arg("clock"), py::arg("table"), py::arg("keys") = py::none())
      .def(
          "push",
          [](Client& self, double now, const std::string& table, const Array& values, const Keys& keys, double weight) {
            self.push(now, table, values_of(values, keys), weight);
          },
          py::arg("now"), py::arg("table"), py::arg("values"), py::arg("keys") = py::none(), py::arg("weight") = 1.0)
      .def(
          "clock",
          [](Client& self, double now, const py::bytes& state) {
            return self.clock(now, from_python(std::string_view(state)));
          },
          py::arg("now"), py::arg("state") = py::bytes())
      .def(
          "all_reduce",
          [](Client& self, double now, const Array& values, bool mean, double weight) {
            return self.all_reduce(now, values_of(values, std::nullopt), mean, weight);
          },
          py::arg("now"), py::arg("values"), py::kw_only(), py::arg("mean") = false, py::arg("weight") = 1.0)
      .def("signal", &Client::signal, py::arg("now"), py::arg("name"))
      .def(
          "report",
          [](Client& self, double now, const py::bytes& metrics) {
            self.report(now, from_python(std::string_view(metrics)));
          },
          py::arg("now"), py::arg("metrics"))
      .def("leave", &Client::leave, py::arg("now"))
      .def(
          "letter",
          [](Client& self, const Array& values, const Keys& keys, const std::string& name) {
            py::list frames;
            for (const auto& frame : self.letter(values_of(values, keys), name))
              frames.append(to_python(frame->flat()));
            return frames;
          },
          py::arg("values"), py::arg("keys") = py::none(), py::arg("name") = "")
      .def(
          "receive_letter",
          [](Client& self, std::uint32_t peer, const py::buffer& frame) {
            const auto info = frame.request();
            return self.receive_letter(peer, bytes_of(info));
          },
          py::arg("peer"), py::arg("frame"))
      .def_property_readonly("worker", &Client::worker)
      .def_property_readonly("own_clock", &Client::own_clock)
      .def_property_readonly("unacknowledged", &Client::unacknowledged)
      .def_property_readonly("ready", &Client::ready);
}

/// A SharedMailbox and the buffer that it lies in, which cannot be closed meanwhile.
class MappedMailbox {
 public:
  MappedMailbox(const py::buffer& buffer, std::uint32_t rank, const server::SharedMailboxShape& shape)
      : info_(buffer.request(true)),
        mailbox_({static_cast<std::byte*>(info_.ptr), static_cast<std::size_t>(info_.size * info_.itemsize)}, shape,
                 rank) {}

  SharedMailbox* operator->() { return &mailbox_; }

 private:
  py::buffer_info info_;
  SharedMailbox mailbox_;
};

/// Values in the memory of a numpy array, which must not change or end before they are used.
net::Values borrowed(const py::array& values, const std::optional<py::array>& keys) {
  auto list = keys_of(keys);
  const bool sparse = list.has_value();
  net::Numbers numbers;
  if (py::isinstance<py::array_t<float>>(values)) {
    numbers = net::Array<float>(net::Owner(), array_span<const float>(values, "values"));
  } else {
    numbers = net::Array<double>(net::Owner(), array_span<const double>(values, "values"));
  }
  return {sparse, sparse ? std::move(*list) : net::Keys(), std::move(numbers)};
}

py::list letters_of(const std::vector<MailboxLetter>& letters) {
  py::list list;
  for (const MailboxLetter& letter : letters) {
    py::object keys = py::none();
    if (letter.values.sparse) keys = to_array(letter.values.keys);
    list.append(py::make_tuple(letter.peer, to_array(letter.values.data), std::move(keys), letter.name, letter.number));
  }
  return list;
}

void register_mailbox(py::module_& m) {
  py::class_<Mailbox>(m, "Mailbox", "Letters that are not read yet; see mailbox.hpp.")
      .def(py::init([](std::size_t slots, const std::string& on_full) {
             return Mailbox(slots, named<server::OnFull>(kOnFull, on_full, "on_full"));
           }),
           py::kw_only(), py::arg("slots"), py::arg("on_full"))
      .def(
          "put",
          [](Mailbox& self, std::uint32_t peer, const py::array& values, const std::optional<py::array>& keys,
             std::string name,
             std::uint64_t number) { self.put({peer, number, std::move(name), values_of(values, keys)}); },
          py::arg("peer"), py::arg("values"), py::arg("keys") = py::none(), py::arg("name") = "", py::arg("number") = 0)
      .def("drain", [](Mailbox& self) { return letters_of(self.drain()); })
      .def(
          "take", [](Mailbox& self, std::uint32_t slot) { return letters_of(self.take(slot)); }, py::arg("slot"))
      .def_property_readonly("empty", &Mailbox::empty)
      .def_property_readonly("overwritten", &Mailbox::overwritten);
}

void register_shared_mailbox(py::module_& m) {
  using Array = py::array;
  using Keys = std::optional<py::array>;
  py::class_<MappedMailbox>(m, "SharedMailbox",
                            "The mailboxes of processes that share a mapping; see shared_mailbox.hpp.")
      .def(py::init([](const py::buffer& buffer, std::uint32_t rank, std::uint32_t n_ranks, std::size_t slots,
                       std::size_t capacity) {
             return std::make_unique<MappedMailbox>(buffer, rank, server::SharedMailboxShape{n_ranks, slots, capacity});
           }),
           py::arg("buffer"), py::kw_only(), py::arg("rank"), py::arg("n_ranks"), py::arg("slots"), py::arg("capacity"))
      .def("accept_torn", [](MappedMailbox& self) { self->accept_torn(); })
      .def_property_readonly("overwritten", [](MappedMailbox& self) { return self->overwritten(); })
      .def_property_readonly("torn", [](MappedMailbox& self) { return self->torn(); })
      .def_static(
          "bytes_for",
          [](std::uint32_t n_ranks, std::size_t slots, std::size_t capacity) {
            return SharedMailbox::bytes_for({n_ranks, slots, capacity});
          },
          py::kw_only(), py::arg("n_ranks"), py::arg("slots"), py::arg("capacity"))
      .def(
          "put",
          [](MappedMailbox& self, std::uint32_t receiver, const Array& values, const Keys& keys,
             const std::string& name) { return self->put(receiver, borrowed(values, keys), name); },
          py::arg("receiver"), py::arg("values"), py::arg("keys") = py::none(), py::arg("name") = "")
      .def(
          "put_half",
          [](MappedMailbox& self, std::uint32_t receiver, const Array& values, const Keys& keys,
             const std::string& name) { return self->put_half(receiver, borrowed(values, keys), name); },
          py::arg("receiver"), py::arg("values"), py::arg("keys") = py::none(), py::arg("name") = "")
      .def("drain", [](MappedMailbox& self) { return letters_of(self->drain()); })
      .def(
          "drain_to",
          [](MappedMailbox& self, Mailbox& mailbox) {
            for (MailboxLetter& letter : self->drain()) mailbox.put(std::move(letter));
          },
          py::arg("mailbox"))
      .def("clear", [](MappedMailbox& self) { self->clear(); })
      .def(
          "end_life", [](MappedMailbox& self, std::uint32_t rank) { self->end_life(rank); }, py::arg("rank"))
      .def_property_readonly("empty", [](MappedMailbox& self) { return self->empty(); })
      .def_property_readonly("life", [](MappedMailbox& self) { return self->life(); });
}

}  // namespace

void register_server(py::module_& m) {
  register_mailbox(m);
  register_shared_mailbox(m);
  register_table_spec(m);
  register_records(m);
  register_machine(m);
  register_client(m);
}

}  // namespace dsgd::python
