// Drives the robot to where a photo was taken, or to a place by its name. kinaema.launch.py and Nav2 must run.
//
//   colcon build --base-paths src/kinaema_ros/examples/cpp
//   ros2 run kinaema_example_client go_to photo.jpg
//   ros2 run kinaema_example_client go_to kitchen
//
// Ctrl-C stops the robot. Ends with status 0 if it got there.

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "kinaema_interfaces/action/navigate_to_image.hpp"
#include "rclcpp/rclcpp.hpp"
#include "rclcpp_action/rclcpp_action.hpp"

using NavigateToImage = kinaema_interfaces::action::NavigateToImage;
using GoalHandle = rclcpp_action::ClientGoalHandle<NavigateToImage>;
using namespace std::chrono_literals;

namespace
{
std::atomic<bool> interrupted{false};

// A file is a photo, anything else the name of a place.
NavigateToImage::Goal make_goal(const std::string & photo_or_place)
{
  NavigateToImage::Goal goal;
  std::ifstream file(photo_or_place, std::ios::binary);
  if (file) {
    // As it is: its EXIF data says how wide the photo is.
    goal.compressed_image.data.assign(std::istreambuf_iterator<char>(file), {});
  } else {
    goal.place = photo_or_place;
  }
  return goal;
}

// Spins until the future is ready; false after the time limit, or on Ctrl-C where that ends the wait.
template<typename Future>
bool wait(const rclcpp::Node::SharedPtr & node, Future & future, std::chrono::seconds limit, bool until_interrupt = false)
{
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (std::chrono::steady_clock::now() < deadline && !(until_interrupt && interrupted)) {
    if (rclcpp::spin_until_future_complete(node, future, 100ms) == rclcpp::FutureReturnCode::SUCCESS) {
      return true;
    }
  }
  return false;
}

int go_to(const rclcpp::Node::SharedPtr & node, const std::string & photo_or_place)
{
  auto client = rclcpp_action::create_client<NavigateToImage>(node, "navigate_to_image");
  if (!client->wait_for_action_server(10s)) {
    std::fprintf(stderr, "nobody serves navigate_to_image; start navigator_node\n");
    return 1;
  }

  rclcpp_action::Client<NavigateToImage>::SendGoalOptions options;
  options.feedback_callback =
    [](GoalHandle::SharedPtr, const std::shared_ptr<const NavigateToImage::Feedback> feedback) {
      std::printf("%.1f m to go, %.0f %% sure\n", feedback->distance_remaining, 100.0 * feedback->confidence);
    };
  auto accepting = client->async_send_goal(make_goal(photo_or_place), options);
  if (!wait(node, accepting, 15s)) {
    std::fprintf(stderr, "navigator_node did not answer\n");
    return 1;
  }
  const GoalHandle::SharedPtr handle = accepting.get();
  if (!handle) {
    std::fprintf(stderr, "navigator_node took no goal; see its log\n");
    return 1;
  }

  auto ending = client->async_get_result(handle);
  if (!wait(node, ending, std::chrono::hours(1), true)) {
    auto canceling = client->async_cancel_goal(handle);  // no drive outlives its caller
    if (!wait(node, canceling, 15s) || !wait(node, ending, 15s)) {
      std::fprintf(stderr, "nobody confirmed that the robot stops: it may still be driving\n");
      return 1;
    }
  }
  const NavigateToImage::Result::SharedPtr result = ending.get().result;
  const bool reached = result->error_code == NavigateToImage::Result::NONE;
  std::printf("%s\n", result->error_msg.empty() && reached ? "there" : result->error_msg.c_str());
  return reached ? 0 : 1;
}
}  // namespace

int main(int argc, char ** argv)
{
  rclcpp::init(argc, argv, rclcpp::InitOptions(), rclcpp::SignalHandlerOptions::None);
  std::signal(SIGINT, [](int) {interrupted = true;});
  const std::vector<std::string> arguments = rclcpp::remove_ros_arguments(argc, argv);
  if (arguments.size() != 2) {
    std::fprintf(stderr, "usage: go_to PHOTO|PLACE\n");
    return 2;
  }
  const int status = go_to(rclcpp::Node::make_shared("kinaema_example_client"), arguments[1]);
  rclcpp::shutdown();
  return status;
}
