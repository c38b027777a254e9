#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string_view>

#include "dsgd/core/random.hpp"
#include "dsgd/net/crc32c.hpp"
#include "dsgd/net/messages.hpp"

using namespace dsgd;
using namespace dsgd::net;

namespace {

ByteSpan bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

Push a_push(std::size_t n) {
  Push push{{7, 3, 11, 42}, 2, 0.5, {true, {}, {}}};
  std::vector<float> values;
  for (std::size_t k = 0; k < n; ++k) {
    push.values.keys.push_back(k * k);
    values.push_back(static_cast<float>(k));
  }
  push.values.data = std::move(values);
  return push;
}

/// The body of a message of one frame, given to `f` by its bytes; whether that was refused as malformed.
template <typename F>
bool refused(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::protocol);
    return true;
  }
  return false;
}

}  // namespace

TEST_CASE("CRC32C has the published check value, with and without the instruction") {
  CHECK(crc32c(bytes_of("123456789")) == 0xe3069283U);  // RFC 3720, and every catalogue of CRCs
  RandomStream random(1, 0, 0);
  Bytes bytes;
  for (std::size_t size = 0; size < 100; ++size) {
    CHECK(crc32c(bytes) == crc32c_portable(bytes));
    CHECK(crc32c(ByteSpan(bytes).subspan(size / 2), crc32c(ByteSpan(bytes).first(size / 2))) == crc32c(bytes));
    bytes.push_back(static_cast<std::byte>(random.next()));
  }
  while (bytes.size() < 10'000) bytes.push_back(static_cast<std::byte>(random.next()));
  for (std::size_t size = 3'000; size < bytes.size(); size += 997) {  // three streams at a time
    const ByteSpan some = ByteSpan(bytes).first(size);
    CHECK(crc32c(some) == crc32c_portable(some));
    CHECK(crc32c(some.subspan(size / 2), crc32c(some.first(size / 2))) == crc32c(some));
  }
}

TEST_CASE("a message is read as it was written") {
  for (const bool checksum : {false, true}) {
    const auto frames = encode(a_push(100), 99, checksum);
    REQUIRE(frames.size() == 1);
    const Bytes frame = frames[0]->flat();
    const auto view = parse_frame(frame);
    CHECK(view.header.request == 99);
    CHECK(view.header.type == MessageType::push);
    const auto push = decode<Push>(view.payload);
    CHECK(push.stamp.sequence == 42);
    CHECK(push.stamp.clock == 11);
    CHECK(push.weight == 0.5);
    CHECK(push.values.keys == a_push(100).values.keys);
    CHECK(push.values.data == a_push(100).values.data);
  }
}

TEST_CASE("keys of any size survive, and the largest are 64 bits") {
  const Keys keys{0, 1, 127, 128, 16383, 16384, std::uint64_t{1} << 40U, std::numeric_limits<std::uint64_t>::max()};
  MessageWriter writer(MessageType::pull, 0, false);
  put_keys(writer, keys);
  const auto frames = writer.finish();
  const Bytes frame = frames[0]->flat();
  MessageReader reader(parse_frame(frame).payload);
  CHECK(take_keys(reader) == keys);
  reader.expect_end();
}

TEST_CASE("every single changed byte of a frame with a checksum is noticed") {
  const auto frames = encode(a_push(5), 1, true);
  for (std::size_t k = 0; k < frames[0]->size(); ++k) {
    Bytes changed = frames[0]->flat();
    changed[k] ^= std::byte{0x10};
    CHECK(refused([&] { static_cast<void>(parse_frame(changed)); }));
  }
}

TEST_CASE("a frame that is cut short or has a tail is refused") {
  const Bytes frame = encode(a_push(5), 1, false)[0]->flat();
  for (std::size_t size = 0; size < frame.size(); ++size) {
    CHECK(refused([&] { static_cast<void>(parse_frame(ByteSpan(frame).first(size))); }));
  }
  Bytes longer = frame;
  longer.push_back(std::byte{0});
  CHECK(refused([&] { static_cast<void>(parse_frame(longer)); }));
}

TEST_CASE("a body that announces more than it holds is refused before memory is taken for it") {
  const Bytes frame = encode(a_push(5), 1, false)[0]->flat();
  const auto body = parse_frame(frame).payload;
  for (std::size_t size = 0; size < body.size(); ++size) {
    CHECK(refused([&] { static_cast<void>(decode<Push>(body.first(size))); }));
  }
  for (std::size_t at = 0; at + 8 <= body.size(); ++at) {  // an immense number anywhere
    Bytes changed(body.begin(), body.end());
    std::fill_n(changed.begin() + static_cast<std::ptrdiff_t>(at), 8, std::byte{0xff});
    refused([&] { static_cast<void>(decode<Push>(changed)); });
  }
}

namespace {

Push a_long_push() {  // 9.6 MB
  std::vector<double> values(1'200'000);
  for (std::size_t k = 0; k < values.size(); ++k) values[k] = static_cast<double>(k);
  return {{1, 0, 0, 1}, 0, 1, {false, {}, std::move(values)}};
}

}  // namespace

TEST_CASE("pieces are joined whatever their order, once each") {
  const Push push = a_long_push();
  const auto frames = encode(push, 5, true);
  REQUIRE(frames.size() == 10);
  for (const auto& frame : frames) CHECK(frame->size() <= kHeaderBytes + kPieceBytes);
  Assembler assembler(std::size_t{1} << 24U);
  CHECK_FALSE(assembler.add(frames[9]->flat()));
  for (std::size_t k = 0; k < 8; ++k) CHECK_FALSE(assembler.add(frames[k]->flat()));
  CHECK_FALSE(assembler.add(frames[0]->flat()));
  const auto message = assembler.add(frames[8]->flat());
  REQUIRE(message);
  const auto read = decode<Push>(message->body);
  CHECK(read.values.data == push.values.data);
  CHECK(std::get<1>(read.values.data).owner() == message->body.owner);  // not copied
}

TEST_CASE("a message that is read straight into place is the same, and a damaged one is noticed") {
  const Push push = a_long_push();
  for (const bool damaged : {false, true}) {
    Assembler assembler(std::size_t{1} << 24U);
    std::optional<Message> message;
    const auto read_all = [&] {
      for (const auto& frame : encode(push, 5, true)) {
        Bytes bytes = frame->flat();
        if (damaged) bytes.back() ^= std::byte{1};
        const FrameHeader header = parse_header(bytes);
        const auto payload = ByteSpan(bytes).subspan(kHeaderBytes);
        std::ranges::copy(payload, assembler.room(header).begin());
        message = assembler.filled(header, crc32c(payload));
      }
    };
    CHECK(refused(read_all) == damaged);
    if (damaged) continue;
    REQUIRE(message);
    CHECK(decode<Push>(message->body).values.data == push.values.data);
  }
}

TEST_CASE("messages beyond the limit are refused, and pieces of forgotten ones make room") {
  const Push push = a_long_push();
  Assembler small(std::size_t{1} << 23U);
  CHECK(refused([&] { static_cast<void>(small.add(encode(push, 5, false)[0]->flat())); }));
  Assembler assembler(std::size_t{1} << 24U);
  for (std::uint64_t request = 0; request < 10; ++request) {
    CHECK_FALSE(assembler.add(encode(push, request, false)[0]->flat()));  // the others are lost
  }
  const auto frames = encode(push, 100, false);
  for (std::size_t k = 0; k < 9; ++k) CHECK_FALSE(assembler.add(frames[k]->flat()));
  CHECK(assembler.add(frames[9]->flat()));
}

TEST_CASE("16 bits hold what the formats say") {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {  // every number of 16 bits comes back
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = from_float16(half);
    if (std::isnan(value)) continue;
    CHECK(to_float16(value) == half);
    if (!std::isnan(from_bfloat16(half))) CHECK(to_bfloat16(from_bfloat16(half)) == half);
  }
  CHECK(from_float16(to_float16(1.0F + 1.0F / 2048)) == 1.0F);                // half way: to even
  CHECK(from_float16(to_float16(1.0F + 3.0F / 2048)) == 1.0F + 4.0F / 2048);  // likewise
  CHECK(from_float16(to_float16(65519.0F)) == 65504.0F);
  CHECK(std::isinf(from_float16(to_float16(-65520.0F))));
  CHECK(from_float16(to_float16(2.0e-8F)) == 0.0F);
  CHECK(from_bfloat16(to_bfloat16(1.0F + 1.0F / 256)) == 1.0F);
  CHECK(from_bfloat16(to_bfloat16(1.0F + 3.0F / 256)) == 1.0F + 4.0F / 256);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(std::isnan(from_float16(to_float16(nan))));
  CHECK(std::isnan(from_bfloat16(to_bfloat16(nan))));
}

TEST_CASE("numbers of 16 bits take half of the wire, keys as many bytes as they need") {
  std::vector<float> values(1000);
  for (std::size_t k = 0; k < values.size(); ++k) values[k] = 1.0F + static_cast<float>(k) / 3000;
  const Push push{{}, 0, 1, {false, {}, values}};
  for (const Wire wire : {Wire::float16, Wire::bfloat16}) {
    const auto frame = encode(push, 1, false, wire)[0]->flat();
    CHECK(encode(push, 1, false)[0]->size() - frame.size() == 2 * values.size());
    const Push back = decode<Push>(parse_frame(frame).payload);
    const auto& read = std::get<0>(back.values.data);
    const float bound = wire == Wire::float16 ? 1.0F / 2048 : 1.0F / 256;
    for (std::size_t k = 0; k < values.size(); ++k) CHECK(std::abs(read[k] - values[k]) <= bound);
  }
}
