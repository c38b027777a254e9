// Frames: what goes over a connection. Little-endian; a header of 32 bytes, then a piece of a message of at most 1 MB,
// so that a heartbeat need not wait for a large message to pass. No sockets here.
//
//   0 magic "DSGD"   4 version   5 type   6 flags (bit 0: the payload has a checksum)   8 request id
//  16 piece         18 pieces   20 length of the payload   24 CRC32C of the payload, or 0   28 CRC32C of the 28 bytes
//  before
#pragma once

#include <bit>          // for endian
#include <cstddef>      // for byte, size_t
#include <cstdint>      // for uint16_t, uint32_t, uint64_t, uint8_t
#include <cstring>      // for memcpy
#include <map>          // for map
#include <memory>       // for shared_ptr
#include <optional>     // for optional
#include <set>          // for set
#include <span>         // for span
#include <string>       // for string
#include <string_view>  // for string_view
#include <type_traits>  // for is_trivially_copyable_v
#include <utility>      // for pair
#include <vector>       // for vector

#include "dsgd/core/error.hpp"
#include "dsgd/net/memory.hpp"

namespace dsgd::net {

static_assert(std::endian::native == std::endian::little, "frames are little-endian, and copied as they are");

/// One frame: its header and what was copied behind it, then large parts where they lie.
class FrameData {
 public:
  FrameData(Bytes head, std::vector<Slice> tail);

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] ByteSpan head() const noexcept { return head_; }
  [[nodiscard]] const std::vector<Slice>& tail() const noexcept { return tail_; }
  /// All of it, copied into one piece.
  [[nodiscard]] Bytes flat() const;

 private:
  Bytes head_;
  std::vector<Slice> tail_;
  std::size_t size_;
};
/// Shared, since what is not acknowledged is kept to be sent again.
using Frame = std::shared_ptr<const FrameData>;

inline constexpr std::uint8_t kVersion = 1;
inline constexpr std::size_t kHeaderBytes = 32;
inline constexpr std::size_t kPieceBytes = std::size_t{1} << 20U;

/// The meaning of a message; see messages.hpp.
enum class MessageType : std::uint8_t {
  hello = 1,
  welcome,
  push,
  clock,
  all_reduce,
  signal,
  report,
  leave,
  acknowledge,
  pull,
  pull_answer,
  collect,
  collect_answer,
  heartbeat,
  signals,
  members,
  letter,
  failure,
  greeting,
  challenge,
  proof,
};
inline constexpr auto kLastType = static_cast<std::uint8_t>(MessageType::proof);

[[noreturn]] inline void malformed(const std::string& what) { throw Error(ErrorCode::protocol, what); }

/// The peer is sound, but of another version: to try again does not help.
class VersionError : public Error {
 public:
  explicit VersionError(const std::string& message) : Error(ErrorCode::protocol, message) {}
};

struct FrameHeader {
  MessageType type = MessageType::hello;
  bool checksum = false;
  std::uint64_t request = 0;
  std::uint16_t piece = 0;
  std::uint16_t pieces = 1;
  std::uint32_t length = 0;
  std::uint32_t payload_crc = 0;
};

/// Reads and checks a header. Throws Error(protocol) for anything but a frame of this version with a possible length.
[[nodiscard]] FrameHeader parse_header(ByteSpan header);

/// A header, and the payload that follows it in `frame`. Throws Error(protocol) unless `frame` is one whole frame.
struct FrameView {
  FrameHeader header;
  ByteSpan payload;
};
[[nodiscard]] FrameView parse_frame(ByteSpan frame);

/// Writes one message into as many frames as it needs.
class MessageWriter {
 public:
  MessageWriter(MessageType type, std::uint64_t request, bool checksum);

  template <typename T>
  void put(T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    put_bytes(std::as_bytes(std::span<const T, 1>(&value, 1)));
  }
  void put_bytes(ByteSpan bytes);
  /// Bytes that are not copied if they are many: they must not change any more.
  void put_slice(const Slice& slice);
  /// Zeros, until the next byte is a multiple of `alignment` away from the beginning of the message.
  void pad(std::size_t alignment);
  /// A length of two bytes, then the text.
  void put_text(std::string_view text);
  /// A length of eight bytes, then the bytes.
  void put_blob(ByteSpan bytes);

  /// The frames, in order; the writer is spent.
  [[nodiscard]] std::vector<Frame> finish();

 private:
  struct Piece {
    Bytes head = Bytes(kHeaderBytes);
    std::vector<Slice> tail;
    std::size_t length = 0;  // of the payload
  };

  Piece& open_piece();

  FrameHeader header_;
  std::vector<Piece> pieces_;
};

/// Reads the body of a message; every length is checked against the bytes that are there.
class MessageReader {
 public:
  explicit MessageReader(ByteSpan body) : MessageReader(Slice{nullptr, body}) {}
  /// With an owner, arrays need not be copied out of the body.
  explicit MessageReader(const Slice& body) : body_(body), left_(body.bytes) {}

  template <typename T>
  [[nodiscard]] T take() {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    std::memcpy(&value, take_bytes(sizeof(T)).data(), sizeof(T));
    return value;
  }
  [[nodiscard]] bool take_flag();
  /// A finite number: what is not would poison every sum it is part of.
  [[nodiscard]] double take_finite(const char* name);
  [[nodiscard]] ByteSpan take_bytes(std::size_t count);
  /// What keeps the bytes that are taken; nothing if nobody does for longer than the reader is there.
  [[nodiscard]] const Owner& owner() const noexcept { return body_.owner; }
  void skip_padding(std::size_t alignment);
  [[nodiscard]] std::string take_text();
  [[nodiscard]] ByteSpan take_blob();
  [[nodiscard]] std::size_t left() const noexcept { return left_.size(); }
  void expect_end() const;

 private:
  Slice body_;
  ByteSpan left_;
};

/// One whole message.
struct Message {
  MessageType type = MessageType::hello;
  std::uint64_t request = 0;
  Slice body;
};

/// Joins the pieces of messages, which may come in any order, more than once, or not at all. One a connection.
class Assembler {
 public:
  /// Pieces of at most `limit` bytes wait for others; a message beyond that is refused.
  explicit Assembler(std::size_t limit) : limit_(limit) {}

  /// The message that `frame` completes. A body without owner lies in `frame`. Throws Error(protocol).
  [[nodiscard]] std::optional<Message> add(ByteSpan frame);

  /// The same for who reads piece by piece: where the payload that follows this header must be put, and, when it is
  /// there and has this checksum, the message that it completes.
  [[nodiscard]] std::span<std::byte> room(const FrameHeader& header);
  [[nodiscard]] std::optional<Message> filled(const FrameHeader& header, std::uint32_t payload_crc);

 private:
  struct Partial {
    Block block;
    std::uint64_t age;
    std::set<std::uint16_t> arrived;
    std::size_t last_length;
  };
  using Key = std::pair<std::uint8_t, std::uint64_t>;

  [[nodiscard]] std::optional<Message> joined(const FrameHeader& header);
  void make_room(std::size_t bytes);

  std::size_t limit_;
  std::size_t waiting_bytes_ = 0;
  std::uint64_t next_age_ = 0;
  std::map<Key, Partial> partial_;
  Block single_;
};

}  // namespace dsgd::net
