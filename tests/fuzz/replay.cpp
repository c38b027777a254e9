// Runs a fuzz target on every file of a folder, without libFuzzer: any compiler can.
#include <cstddef>     // for size_t
#include <cstdint>     // for uint8_t
#include <cstdio>      // for printf
#include <filesystem>  // for directory_iterator
#include <fstream>     // for ifstream
#include <iterator>    // for istreambuf_iterator
#include <vector>      // for vector

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: replay FOLDER\n", stderr);
    return 2;
  }
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    std::printf("%s\n", entry.path().c_str());
    std::fflush(stdout);  // the last line names the file that failed
    std::ifstream file(entry.path(), std::ios::binary);
    const std::vector<std::uint8_t> bytes(std::istreambuf_iterator<char>(file), {});
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    ++files;
  }
  return files == 0 ? 1 : 0;
}
