#include "dsgd/objective/loss.hpp"

#include "dsgd/core/error.hpp"

namespace dsgd {

ScalarLoss scalar_loss(const LossConfig& config) {
  if (config.name == Hinge::kName) return Hinge{};
  if (config.name == SquaredHinge::kName) return SquaredHinge{};
  if (config.name == Perceptron::kName) return Perceptron{};
  if (config.name == Logistic::kName) return Logistic{};
  if (config.name == ModifiedHuber::kName) return ModifiedHuber{};
  if (config.name == Squared::kName) return Squared{};
  if (config.name == Huber::kName) return Huber{config.epsilon};
  if (config.name == EpsilonInsensitive::kName) return EpsilonInsensitive{config.epsilon};
  if (config.name == SquaredEpsilonInsensitive::kName) return SquaredEpsilonInsensitive{config.epsilon};
  throw Error(ErrorCode::config, "unknown loss '" + config.name + "'");
}

}  // namespace dsgd
