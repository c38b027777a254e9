// Frames, the units that are sent over a connection. A frame is a header of 32 bytes and a piece of
// a message, at most 1 MB, so that a heartbeat need not wait for the end of a large message. All
// numbers are little-endian. There are no sockets in this file. The header, by byte offset:
//
//    0  magic "DSGD"
//    4  version
//    5  type
//    6  flags (bit 0: the payload has a checksum)
//    8  request id
//   16  number of the piece
//   18  number of pieces of the message
//   20  length of the payload
//   24  CRC32C of the payload, or 0
//   28  CRC32C of bytes 0 to 27
#pragma once

#include <bit>          // for endian
#include <cstddef>      // for byte, size_t
#include <cstdint>      // for uint16_t, uint32_t, uint64_t, uint8_t
#include <cstring>      // for memcpy
#include <map>          // for map
#include <memory>       // for shared_ptr
#include <mutex>        // for once_flag
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

/// The peer works, but has another version of the protocol. Another try does not help.
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

/// One frame: a head with the header and copied bytes of the payload, then large parts of the
/// payload, which are not copied. The header is completed when the frame is first looked at, so
/// that the checksum of a piece is computed while the piece before it travels. Any thread may look.
class FrameData {
 public:
  /// `head` begins with room for the header.
  FrameData(const FrameHeader& header, Bytes head, std::vector<Slice> tail);
  /// Bytes that are sent as they are.
  explicit FrameData(Bytes bytes);

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// The number of bytes that have a checksum, which the first look computes.
  [[nodiscard]] std::size_t checked_bytes() const noexcept {
    return header_ && header_->checksum ? header_->length : 0;
  }
  [[nodiscard]] ByteSpan head() const;
  [[nodiscard]] const std::vector<Slice>& tail() const noexcept { return tail_; }
  /// The whole frame, copied into one array.
  [[nodiscard]] Bytes flat() const;

 private:
  void seal() const;

  std::optional<FrameHeader> header_;  // none for bytes that are sent as they are
  mutable Bytes head_;
  mutable std::once_flag sealed_;
  std::vector<Slice> tail_;
  std::size_t size_;
};
/// Frames are shared: the sender keeps them until they are acknowledged, to send them again.
using Frame = std::shared_ptr<const FrameData>;

/// Reads and checks a header. Throws Error(protocol) for anything but a frame of this version with
/// a possible length.
[[nodiscard]] FrameHeader parse_header(ByteSpan header);

/// A header, and the payload that follows it in `frame`. Throws Error(protocol) unless `frame` is
/// one whole frame.
struct FrameView {
  FrameHeader header;
  ByteSpan payload;
};
[[nodiscard]] FrameView parse_frame(ByteSpan frame);

/// Writes one message, as one or more frames.
class MessageWriter {
 public:
  MessageWriter(MessageType type, std::uint64_t request, bool checksum);

  template <typename T>
  void put(T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    put_bytes(std::as_bytes(std::span<const T, 1>(&value, 1)));
  }
  void put_bytes(ByteSpan bytes);
  /// Appends bytes. Long slices are shared instead of copied, so that their bytes must not change
  /// any more.
  void put_slice(const Slice& slice);
  /// Appends zeros until the length of the message is a multiple of `alignment`.
  void pad(std::size_t alignment);
  /// Appends the length of the text in two bytes, then the text.
  void put_text(std::string_view text);
  /// Appends the number of bytes in eight bytes, then the bytes.
  void put_blob(ByteSpan bytes);

  /// Returns the frames, in order. The writer cannot be used afterwards.
  [[nodiscard]] std::vector<Frame> finish();

 private:
  struct Piece {
    Bytes head = Bytes(kHeaderBytes);
    std::vector<Slice> tail;
    std::size_t length = 0;  // of the payload, in bytes
  };

  Piece& open_piece();

  FrameHeader header_;
  std::vector<Piece> pieces_;
};

/// Reads the body of a message. It checks every length against the bytes that remain.
class MessageReader {
 public:
  explicit MessageReader(ByteSpan body) : MessageReader(Slice{nullptr, body}) {}
  /// If `body` has an owner, arrays share its memory instead of being copied.
  explicit MessageReader(const Slice& body) : body_(body), left_(body.bytes) {}

  template <typename T>
  [[nodiscard]] T take() {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    std::memcpy(&value, take_bytes(sizeof(T)).data(), sizeof(T));
    return value;
  }
  [[nodiscard]] bool take_flag();
  /// Reads a number, which must be finite: an infinity or a NaN would spoil every sum.
  [[nodiscard]] double take_finite(const char* name);
  [[nodiscard]] ByteSpan take_bytes(std::size_t count);
  /// The owner of the bytes of the body. Null if the bytes need not outlive the reader.
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

/// Joins the pieces of messages, which may arrive in any order, more than once, or never. Each
/// connection has its own.
class Assembler {
 public:
  /// The memory of incomplete messages is at most `limit` bytes. A longer message is refused.
  explicit Assembler(std::size_t limit) : limit_(limit) {}

  /// Takes in a frame. Returns the message if the frame completes one. A body without owner refers
  /// to the bytes of `frame`. Throws Error(protocol).
  [[nodiscard]] std::optional<Message> add(ByteSpan frame);

  /// The same in two calls, for a caller that reads payloads into place. `room` returns the memory
  /// for the payload that follows `header`. `filled` tells that the payload is there, with the
  /// checksum `payload_crc`; it returns the message if the payload completes one.
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
