# Tab completes `kinaema` in bash, where argcomplete is installed; sourced by colcon's setup.bash (see colcon.pkg).
if command -v register-python-argcomplete >/dev/null; then
  eval "$(register-python-argcomplete kinaema)"
fi
