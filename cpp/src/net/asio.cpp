// The compiled part of Asio. It is compiled here once, not in every file that includes Asio.
#include <asio/impl/src.hpp>
#include <asio/ssl/impl/src.hpp>
