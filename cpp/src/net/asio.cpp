// The compiled part of Asio, once instead of in every file that includes it.
#include <asio/impl/src.hpp>
#include <asio/ssl/impl/src.hpp>
