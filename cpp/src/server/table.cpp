#include "dsgd/server/table.hpp"

#include <span>     // for span
#include <utility>  // for move

namespace dsgd::server {
namespace {

template <typename Real>
RuleOf<Real> make_rule(const TableSpec& spec, std::size_t size) {
  const auto width = static_cast<std::size_t>(spec.width);
  switch (spec.rule) {
    case Rule::replace_mean:
      return ReplaceMeanRule<Real>(width, size);
    case Rule::average:
      return AverageRule<Real>{width, Paged<Real>(size), Paged<double>(size)};
    case Rule::adagrad:
      return AdagradRule<Real>{spec.step_size, width, Paged<Real>(size), Paged<double>(size)};
    case Rule::blend:
      return BlendRule<Real>(width, size);
    default:
      return AddRule<Real>{spec.rule == Rule::add_scaled, width, Paged<Real>(size)};
  }
}

template <typename T>
std::vector<T> all_of(const Paged<T>& values) {
  std::vector<T> array(values.size());
  values.read(0, std::span(array));
  return array;
}

template <typename T>
void assign_all(Paged<T>& values, std::span<const T> array) {
  values = Paged<T>(values.size());
  values.update(0, array.size(), [&](T& element, std::size_t k) { element = array[k]; });
}

/// Calls `each(name, array)` for every paged array of a rule that is saved in checkpoints.
template <typename RuleType, typename Each>
void for_arrays(RuleType& rule, Each&& each) {
  if constexpr (requires { rule.values; }) each("/values", rule.values);
  if constexpr (requires { rule.initial; }) each("/values", rule.initial);
  if constexpr (requires { rule.squares; }) each("/squares", rule.squares);
}

}  // namespace

Table::Table(const TableSpec& spec, std::size_t shard, std::size_t n_shards)
    : name_(spec.name),
      rule_(spec.rule),
      dtype_(spec.dtype),
      width_(static_cast<std::size_t>(spec.width)),
      range_(rows_of_shard(spec.size, shard, n_shards)),
      n_values_(static_cast<std::size_t>(range_.end - range_.begin) * width_),
      state_(make_rule<float>(spec, 0)) {
  if (dtype_ == net::DType::float32) {
    state_ = make_rule<float>(spec, n_values_);
  } else {
    state_ = make_rule<double>(spec, n_values_);
  }
}

void Table::check(const net::Values& values, double weight) const {
  const auto refuse = [&](const std::string& what) { net::malformed("a push to table '" + name_ + "' has " + what); };
  if (values.dtype() != dtype_) refuse("another dtype than the table");
  if ((rule_ == Rule::replace_mean || rule_ == Rule::average) && !(weight > 0)) refuse("a weight that is not positive");
  if (values.sparse) check_keys(values.keys);
  const std::size_t expected = values.sparse ? values.keys.size() * width_ : n_values_;
  if (values.size() != expected) {
    refuse(std::to_string(values.size()) + " values instead of " + std::to_string(expected));
  }
}

void Table::check_keys(const net::Keys& keys) const {
  if (!keys.empty() && keys.back() >= range_.end - range_.begin) {  // keys increase
    net::malformed("table '" + name_ + "' has no row " + std::to_string(keys.back()));
  }
}

void Table::apply(const Update& update, std::size_t live) {
  visit([&](auto& rule) { rule.apply(update, live); });
}

void Table::finish_clock() {
  visit([](auto& rule) { rule.finish_clock(); });
}

void Table::forget(std::uint32_t worker) {
  visit([&](auto& rule) { rule.forget(worker); });
}

net::Numbers Table::read(const std::optional<net::Keys>& keys) const {
  const auto read_as = [&]<typename Real>(std::vector<Real> out) {
    visit([&](const auto& rule) {
      if (!keys) {
        rule.read(0, std::span(out));
        return;
      }
      for (std::size_t row = 0; row < keys->size(); ++row) {
        rule.read((*keys)[row] * width_, std::span(out).subspan(row * width_, width_));
      }
    });
    return net::Numbers(std::move(out));
  };
  const std::size_t size = keys ? keys->size() * width_ : n_values_;
  return dtype_ == net::DType::float32 ? read_as(std::vector<float>(size)) : read_as(std::vector<double>(size));
}

std::optional<net::Rope> Table::rope() const {
  return visit([&](const auto& rule) -> std::optional<net::Rope> {
    if constexpr (requires { rule.values.slices(); }) {
      return net::Rope{dtype_, n_values_, rule.values.slices()};
    } else {
      return std::nullopt;
    }
  });
}

void Table::assign(const net::Numbers& values) {
  const std::size_t size = std::visit([](const auto& numbers) { return numbers.size(); }, values);
  if (values.index() != static_cast<std::size_t>(dtype_) || size != n_values_) {
    throw Error(ErrorCode::config, "table '" + name_ + "' takes " + std::to_string(n_values_) + " values of " +
                                       (dtype_ == net::DType::float32 ? "float32" : "float64") +
                                       " on this shard; got " + std::to_string(size) + " of " +
                                       (values.index() == 0 ? "float32" : "float64"));
  }
  std::visit(
      [&]<typename Real>(const net::Array<Real>& array) {
        visit([&](auto& rule) {
          for_arrays(rule, [&](const std::string& name, auto& paged) {
            if constexpr (std::same_as<std::remove_cvref_t<decltype(paged)>, Paged<Real>>) {
              if (name == "/values") assign_all(paged, std::span<const Real>(array.begin(), array.end()));
            }
          });
        });
      },
      values);
}

void Table::save(Checkpoint& checkpoint) const {
  const std::string prefix = "table/" + name_;
  visit([&](const auto& rule) {
    for_arrays(rule, [&](const std::string& name, const auto& paged) { checkpoint[prefix + name] = all_of(paged); });
    if constexpr (requires { rule.last; }) {
      std::vector<std::uint64_t> workers;
      for (const auto& [worker, update] : rule.last) {
        workers.push_back(worker);
        save_update(checkpoint, prefix + "/from/" + std::to_string(worker), update);
      }
      checkpoint[prefix + "/from"] = std::move(workers);
    }
  });
}

void Table::restore(const Checkpoint& checkpoint) {
  const std::string prefix = "table/" + name_;
  visit([&](auto& rule) {
    for_arrays(rule, [&]<typename T>(const std::string& name, Paged<T>& paged) {
      assign_all(paged, std::span<const T>(saved<T>(checkpoint, prefix + name, n_values_)));
    });
    if constexpr (requires { rule.last; }) {
      for (const std::uint64_t worker : saved<std::uint64_t>(checkpoint, prefix + "/from")) {
        const Update update = restore_update(checkpoint, prefix + "/from/" + std::to_string(worker));
        check(*update.values, update.weight);
        rule.apply(update, 1);
      }
    }
  });
}

void save_update(Checkpoint& checkpoint, const std::string& prefix, const Update& update) {
  checkpoint[prefix + "/worker"] = std::vector<std::uint64_t>{update.worker, update.values->sparse ? 1U : 0U};
  checkpoint[prefix + "/weight"] = std::vector<double>{update.weight};
  checkpoint[prefix + "/keys"] = update.values->keys;
  std::visit([&](const auto& data) { checkpoint[prefix + "/values"] = data.copy(); }, update.values->data);
}

Update restore_update(const Checkpoint& checkpoint, const std::string& prefix) {
  const auto& worker = saved<std::uint64_t>(checkpoint, prefix + "/worker", 2);
  const auto values = std::make_shared<net::Values>();
  values->sparse = worker[1] == 1;
  values->keys = saved<std::uint64_t>(checkpoint, prefix + "/keys");
  for (std::size_t k = 1; k < values->keys.size(); ++k) {
    if (values->keys[k - 1] >= values->keys[k])
      throw Error(ErrorCode::data, "keys of '" + prefix + "' do not increase");
  }
  const auto data = checkpoint.find(prefix + "/values");
  if (data != checkpoint.end() && std::holds_alternative<std::vector<float>>(data->second)) {
    values->data = std::get<std::vector<float>>(data->second);
  } else {
    values->data = saved<double>(checkpoint, prefix + "/values");
  }
  return {static_cast<std::uint32_t>(worker[0]), saved<double>(checkpoint, prefix + "/weight", 1)[0], values};
}

}  // namespace dsgd::server
