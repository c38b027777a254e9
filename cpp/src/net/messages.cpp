#include "dsgd/net/messages.hpp"

#include <algorithm>  // for copy

namespace dsgd::net {
namespace {

class Encoder {
 public:
  Encoder(MessageWriter& writer, Wire wire) : writer_(writer), wire_(wire) {}

  template <typename... Fields>
  void operator()(const Fields&... fields) {
    (put(fields), ...);
  }

 private:
  void put(bool flag) { writer_.put(static_cast<std::uint8_t>(flag)); }
  void put(double value) { writer_.put(value); }
  void put(std::uint16_t value) { writer_.put(value); }
  void put(std::uint32_t value) { writer_.put(value); }
  void put(std::uint64_t value) { writer_.put(value); }
  void put(Status status) { writer_.put(status); }
  void put(FailureKind kind) { writer_.put(kind); }
  void put(Purpose purpose) { writer_.put(purpose); }
  void put(const Digest& digest) { writer_.put_bytes(digest); }
  void put(const std::string& text) { writer_.put_text(text); }
  void put(const Bytes& bytes) { writer_.put_blob(bytes); }
  void put(const Keys& keys) { put_keys(writer_, keys); }
  void put(const Values& values) { put_values(writer_, values, wire_); }
  void put(const Rope& rope) { put_rope(writer_, rope); }
  template <typename Item>
  void put(const std::vector<Item>& items) {
    writer_.put(static_cast<std::uint32_t>(items.size()));
    for (const Item& item : items) put(item);
  }
  template <typename Group>
    requires requires(Group& group, Encoder& encoder) { group.fields(encoder); }
  void put(const Group& group) {
    // NOLINTNEXTLINE: `fields` serves reading and writing; here it only reads
    const_cast<Group&>(group).fields(*this);
  }

  MessageWriter& writer_;
  Wire wire_;
};

class Decoder {
 public:
  explicit Decoder(MessageReader& reader) : reader_(reader) {}

  template <typename... Fields>
  void operator()(Fields&... fields) {
    (take(fields), ...);
  }

 private:
  void take(bool& flag) { flag = reader_.take_flag(); }
  void take(double& value) { value = reader_.take_finite("weight"); }
  void take(std::uint16_t& value) { value = reader_.take<std::uint16_t>(); }
  void take(std::uint32_t& value) { value = reader_.take<std::uint32_t>(); }
  void take(std::uint64_t& value) { value = reader_.take<std::uint64_t>(); }
  void take(Status& status) { status = static_cast<Status>(take_below(kLastStatus)); }
  void take(FailureKind& kind) { kind = static_cast<FailureKind>(take_below(kLastFailureKind)); }
  void take(Purpose& purpose) { purpose = static_cast<Purpose>(take_below(kLastPurpose)); }
  void take(Digest& digest) { std::ranges::copy(reader_.take_bytes(digest.size()), digest.begin()); }
  void take(std::string& text) { text = reader_.take_text(); }
  void take(Bytes& bytes) {
    const ByteSpan blob = reader_.take_blob();
    bytes.assign(blob.begin(), blob.end());
  }
  void take(Keys& keys) { keys = take_keys(reader_); }
  void take(Values& values) { values = take_values(reader_); }
  template <typename Item>
  void take(std::vector<Item>& items) {
    // The vector grows with the items that are read: the announced number, which may be false,
    // reserves no memory.
    for (auto count = reader_.take<std::uint32_t>(); count > 0; --count) take(items.emplace_back());
  }
  template <typename Group>
    requires requires(Group& group, Decoder& decoder) { group.fields(decoder); }
  void take(Group& group) {
    group.fields(*this);
  }

  std::uint8_t take_below(std::uint8_t last) {
    const auto value = reader_.take<std::uint8_t>();
    if (value > last) malformed("an unknown code " + std::to_string(value));
    return value;
  }

  MessageReader& reader_;
};

}  // namespace

template <typename Body>
std::vector<Frame> encode(const Body& body, std::uint64_t request, bool checksum, Wire wire) {
  MessageWriter writer(Body::kType, request, checksum);
  Encoder{writer, wire}(body);
  return writer.finish();
}

template <typename Body>
Body decode(const Slice& bytes) {
  MessageReader reader(bytes);
  Body body;
  Decoder{reader}(body);
  reader.expect_end();
  return body;
}

#define DSGD_INSTANTIATE_ENCODE(Body) template std::vector<Frame> encode(const Body&, std::uint64_t, bool, Wire);
#define DSGD_INSTANTIATE(Body)  \
  DSGD_INSTANTIATE_ENCODE(Body) \
  template Body decode<Body>(const Slice&);

DSGD_INSTANTIATE_ENCODE(PagedPullAnswer)

DSGD_INSTANTIATE(Hello)
DSGD_INSTANTIATE(Welcome)
DSGD_INSTANTIATE(Push)
DSGD_INSTANTIATE(ClockTick)
DSGD_INSTANTIATE(AllReduce)
DSGD_INSTANTIATE(Signal)
DSGD_INSTANTIATE(Report)
DSGD_INSTANTIATE(Leave)
DSGD_INSTANTIATE(Acknowledge)
DSGD_INSTANTIATE(Pull)
DSGD_INSTANTIATE(PullAnswer)
DSGD_INSTANTIATE(Collect)
DSGD_INSTANTIATE(CollectAnswer)
DSGD_INSTANTIATE(Heartbeat)
DSGD_INSTANTIATE(Signals)
DSGD_INSTANTIATE(Members)
DSGD_INSTANTIATE(Letter)
DSGD_INSTANTIATE(Failure)
DSGD_INSTANTIATE(Greeting)
DSGD_INSTANTIATE(Challenge)
DSGD_INSTANTIATE(Proof)

#undef DSGD_INSTANTIATE
#undef DSGD_INSTANTIATE_ENCODE

}  // namespace dsgd::net
