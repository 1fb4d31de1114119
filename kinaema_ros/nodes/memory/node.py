"""memory_node: camera and odometry go in, the answer to "where was this photo taken?" comes out.

The data flows one way: message -> array (messages.py) -> pose at its stamp (odometry.py) -> SpatialMemory
(inputs.py) -> pose in the frame asked for (locating.py) -> message. This file is the node around it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_srvs.srv import Trigger
from visualization_msgs.msg import MarkerArray

from kinaema_interfaces.srv import CompareView, LoadMemory, QueryPose, SaveMemory
from kinaema_ros.errors import KinaemaError, missing_package
from kinaema_ros.estimate import Estimate
from kinaema_ros.nodes.memory import files
from kinaema_ros.nodes.memory.comparing import compare
from kinaema_ros.nodes.memory.inputs import MemoryInputs
from kinaema_ros.nodes.memory.keeping import MemoryKeeper
from kinaema_ros.nodes.memory.localization import MemoryLocalization
from kinaema_ros.nodes.memory.locating import locate
from kinaema_ros.nodes.memory.monitor import MemoryMonitor
from kinaema_ros.nodes.memory.parameters import MemoryParameters
from kinaema_ros.nodes.memory.places import PlaceServices
from kinaema_ros.nodes.memory.reports import shown
from kinaema_ros.nodes.memory.turns import Turns
from kinaema_ros.nodes.memory.viewpoints import Viewpoints
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.bond import Bond
from kinaema_ros.nodes.support.frames import require_tf
from kinaema_ros.nodes.support.markers import estimate_markers, status_marker
from kinaema_ros.nodes.support.parameters import declare
from kinaema_ros.nodes.support.runtime import run
from kinaema_ros.paths import default_checkpoint

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# Requests that come at once; of the services' usual ten, an eleventh would never be heard of.
AT_ONCE = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
# Queries that wait for their turn, each in a thread of the executor's; of more at once, the last are refused as busy.
MAX_QUERIES = 16


class MemoryNode(LifecycleNode):
    """The lifecycle node ``kinaema_memory``."""

    def __init__(self) -> None:
        super().__init__("kinaema_memory", automatically_declare_parameters_from_overrides=True)
        self._parameters_now = declare(self, MemoryParameters, self._apply)
        if self._parameters_now.camera_mount == "tf":
            require_tf()
        self._bond = Bond(self, self._parameters_now.bond)
        self._monitor = MemoryMonitor(self)
        self._inputs = MemoryInputs(self, self._parameters_now, self._monitor)
        self._estimates = self.create_publisher(PoseWithCovarianceStamped, "~/estimate", LATCHED)
        self._markers = self.create_publisher(MarkerArray, "~/markers", LATCHED)
        self._viewpoints = Viewpoints(self, self._inputs)
        self._keeper = MemoryKeeper(self._inputs, self._monitor)
        self._turns = Turns(MAX_QUERIES)
        if self._parameters_now.publish_tf:
            self._localization = MemoryLocalization(self, self._inputs, self._monitor)
        queries, commands = ReentrantCallbackGroup(), MutuallyExclusiveCallbackGroup()
        self.create_service(
            QueryPose, "~/query_pose", self._on_query, qos_profile=AT_ONCE, callback_group=queries
        )
        self.create_service(
            CompareView, "~/compare_view", self._on_compare, qos_profile=AT_ONCE, callback_group=queries
        )
        self.create_service(Trigger, "~/reset", self._on_reset, callback_group=commands)
        self.create_service(SaveMemory, "~/save", self._on_save, callback_group=commands)
        self.create_service(LoadMemory, "~/load", self._on_load, callback_group=commands)
        self._places = PlaceServices(self, self._inputs, self._monitor, self._turns, commands)
        # By the steady clock: with use_sim_time and no /clock the node must still say what is missing.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(0.2, self._inputs.refresh, clock=steady)
        self.create_timer(1.0, self._on_second, clock=steady)

    def _apply(self, parameters: MemoryParameters) -> None:
        self._parameters_now = parameters
        self._inputs.apply(parameters)

    # -- lifecycle -------------------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads the network."""
        try:
            import torch  # not before it is needed: it takes seconds

            from kinaema_ros.memory import SpatialMemory
        except ModuleNotFoundError as error:
            self._monitor.problem("package", missing_package(error) or str(error))
            return FAILURE
        parameters = self._parameters_now
        path = Path(parameters.checkpoint).expanduser() if parameters.checkpoint else default_checkpoint()
        try:
            torch.set_num_threads(parameters.threads)
            memory = SpatialMemory.from_checkpoint(
                path, parameters.device, num_embeddings=parameters.num_embeddings or None
            )
        except (OSError, KinaemaError) as error:
            self._monitor.problem(
                "checkpoint",
                f"cannot load '{path}': {error}. Set the parameters checkpoint and device, then configure "
                "again",
            )
            return FAILURE
        except Exception as error:  # rclpy would end the node without a word
            self._monitor.fault("checkpoint", f"cannot load '{path}'", error)
            return FAILURE
        try:
            self._keeper.restore(memory)
        except KinaemaError as error:
            self._monitor.problem(
                "load_at_start",
                f"{error}. Set load_at_start to a memory of this network, or to '', and configure again",
            )
            return FAILURE
        except Exception as error:
            self._monitor.fault("load_at_start", f"cannot load '{parameters.load_at_start}'", error)
            return FAILURE
        self._inputs.use(memory)
        self._monitor.configured(str(path), parameters.device, memory)
        return SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribes; what was remembered before a deactivation is still there."""
        self._monitor.clear()
        self._inputs.start()
        self._on_second()  # players wait for the first status of an active node
        self._bond.start()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribes after the image in hand."""
        self._bond.stop()
        self._inputs.stop()
        self._keeper.save()
        self._on_second()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Frees the network and what was remembered."""
        self._inputs.start_over()
        self._inputs.use(None)
        self._monitor.configured("", "", None)
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Ends the work from whatever state."""
        self.close()
        return super().on_shutdown(state)

    def close(self) -> None:
        """Ends the worker thread before the process ends, and saves what autosave_period asks for."""
        self._bond.stop()
        self._inputs.stop()
        self._keeper.save()

    def _on_second(self) -> None:
        monitor, inputs = self._monitor, self._inputs
        self._keeper.look()
        self._viewpoints.publish()
        odom_frame = monitor.odom_frame = inputs.odom_frame  # once: a reset in another thread empties it
        monitor.waiting_for = inputs.missing() if inputs.active else ""
        monitor.state = inputs.state()
        status = monitor.publish_all()
        now = inputs.tracker.now()
        if now is not None:
            text = f"{status.num_updates} updates" + (
                f", waiting for {status.waiting_for}" if status.waiting_for else ""
            )
            marker = status_marker(text, now[1], odom_frame, status.header.stamp)
            self._markers.publish(MarkerArray(markers=[marker, *self._places.markers(status.header.stamp)]))

    # -- services --------------------------------------------------------------------------------------------

    def _on_query(self, request: QueryPose.Request, response: QueryPose.Response) -> QueryPose.Response:
        try:
            estimate = self._turns.take(lambda: self._locate(request))
        except Exception as error:  # one query must not end the node
            response.message = self._monitor.query_failed(error)
            return response
        messages.fill_response(response, estimate)
        self._estimates.publish(response.pose)
        self._markers.publish(estimate_markers(estimate))
        return response

    def _locate(self, request: QueryPose.Request) -> Estimate:
        started = time.perf_counter()
        estimate = locate(self._inputs, request)
        self._monitor.query_answered(time.perf_counter() - started)
        return estimate

    def _on_compare(
        self, request: CompareView.Request, response: CompareView.Response
    ) -> CompareView.Response:
        try:
            comparison = self._turns.take(lambda: compare(self._inputs, request))
        except Exception as error:  # one request must not end the node
            response.message = self._monitor.query_failed(error)
            return response
        stamp = self.get_clock().now().to_msg()
        messages.fill_comparison(response, comparison, self._inputs.odom_frame, stamp)
        return response

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._inputs.start_over()
        response.success, response.message = True, "the memory is empty"
        return response

    def _on_save(self, request: SaveMemory.Request, response: SaveMemory.Response) -> SaveMemory.Response:
        try:
            memory = self._inputs.configured_memory()
            folder, odom = self._inputs.parameters.memory_dir, self._inputs.odom_to_save()
            path = files.save(memory, folder, request.name, odom)
        except KinaemaError as error:
            response.message = shown(f"nothing was saved: {error}")
            return response
        except Exception as error:  # one request must not end the node
            response.message = self._monitor.fault("save_failed", "nothing was saved", error)
            return response
        response.success, response.message = True, f"saved to {path}"
        return response

    def _on_load(self, request: LoadMemory.Request, response: LoadMemory.Response) -> LoadMemory.Response:
        try:
            path = self._keeper.load(request.name, request.localize)
        except KinaemaError as error:
            response.message = shown(f"nothing was loaded, the memory is as it was: {error}")
            return response
        except Exception as error:  # one request must not end the node
            response.message = self._monitor.fault("load_failed", "nothing was loaded", error)
            return response
        missing = self._inputs.missing_place()
        response.success, response.message = (
            True,
            f"loaded from {path}"
            + (f"; where the robot is in it is looked for: {missing}" if missing else ""),
        )
        return response


def main(args: list[str] | None = None) -> int:
    """Runs the node; returns the exit status."""
    return run(MemoryNode, args, threads=6 + MAX_QUERIES)


if __name__ == "__main__":
    sys.exit(main())
