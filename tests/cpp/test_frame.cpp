#include <doctest/doctest.h>

#include <limits>
#include <string_view>

#include "dsgd/core/random.hpp"
#include "dsgd/net/crc32c.hpp"
#include "dsgd/net/messages.hpp"

using namespace dsgd;
using namespace dsgd::net;

namespace {

ByteSpan bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

Push a_push(std::size_t n) {
  Push push{{7, 3, 11, 42}, 2, 0.5, {true, {}, std::vector<float>(n)}};
  for (std::size_t k = 0; k < n; ++k) {
    push.values.keys.push_back(k * k);
    std::get<0>(push.values.data)[k] = static_cast<float>(k);
  }
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
}

TEST_CASE("a message is read as it was written") {
  for (const bool checksum : {false, true}) {
    const auto frames = encode(a_push(100), 99, checksum);
    REQUIRE(frames.size() == 1);
    const auto view = parse_frame(*frames[0]);
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
  MessageReader reader(parse_frame(*frames[0]).payload);
  CHECK(take_keys(reader) == keys);
  reader.expect_end();
}

TEST_CASE("every single changed byte of a frame with a checksum is noticed") {
  const auto frames = encode(a_push(5), 1, true);
  for (std::size_t k = 0; k < frames[0]->size(); ++k) {
    Bytes changed = *frames[0];
    changed[k] ^= std::byte{0x10};
    CHECK(refused([&] { static_cast<void>(parse_frame(changed)); }));
  }
}

TEST_CASE("a frame that is cut short or has a tail is refused") {
  const auto frame = encode(a_push(5), 1, false)[0];
  for (std::size_t size = 0; size < frame->size(); ++size) {
    CHECK(refused([&] { static_cast<void>(parse_frame(ByteSpan(*frame).first(size))); }));
  }
  Bytes longer = *frame;
  longer.push_back(std::byte{0});
  CHECK(refused([&] { static_cast<void>(parse_frame(longer)); }));
}

TEST_CASE("a body that announces more than it holds is refused before memory is taken for it") {
  const auto frame = encode(a_push(5), 1, false)[0];
  const auto body = parse_frame(*frame).payload;
  for (std::size_t size = 0; size < body.size(); ++size) {
    CHECK(refused([&] { static_cast<void>(decode<Push>(body.first(size))); }));
  }
  for (std::size_t at = 0; at + 8 <= body.size(); ++at) {  // an immense number anywhere
    Bytes changed(body.begin(), body.end());
    std::fill_n(changed.begin() + static_cast<std::ptrdiff_t>(at), 8, std::byte{0xff});
    refused([&] { static_cast<void>(decode<Push>(changed)); });
  }
}

TEST_CASE("pieces are joined whatever their order, once each") {
  Push push{{1, 0, 0, 1}, 0, 1, {false, {}, std::vector<double>(1'200'000)}};
  auto& data = std::get<1>(push.values.data);
  for (std::size_t k = 0; k < data.size(); ++k) data[k] = static_cast<double>(k);
  const auto frames = encode(push, 5, false);
  REQUIRE(frames.size() == 3);
  for (const auto& frame : frames) CHECK(frame->size() <= kHeaderBytes + kPieceBytes);
  Assembler assembler(std::size_t{1} << 24U);
  CHECK_FALSE(assembler.add(*frames[2]));
  CHECK_FALSE(assembler.add(*frames[0]));
  CHECK_FALSE(assembler.add(*frames[0]));
  const auto message = assembler.add(*frames[1]);
  REQUIRE(message);
  CHECK(decode<Push>(message->body).values.data == push.values.data);
}

TEST_CASE("messages beyond the limit are refused, and pieces of forgotten ones make room") {
  Push push{{1, 0, 0, 1}, 0, 1, {false, {}, std::vector<double>(1'200'000)}};
  Assembler small(std::size_t{1} << 23U);
  CHECK(refused([&] { static_cast<void>(small.add(*encode(push, 5, false)[0])); }));
  Assembler assembler(std::size_t{1} << 24U);
  for (std::uint64_t request = 0; request < 10; ++request) {
    CHECK_FALSE(assembler.add(*encode(push, request, false)[0]));  // the others are lost
  }
  const auto frames = encode(push, 100, false);
  CHECK_FALSE(assembler.add(*frames[0]));
  CHECK_FALSE(assembler.add(*frames[1]));
  CHECK(assembler.add(*frames[2]));
}
