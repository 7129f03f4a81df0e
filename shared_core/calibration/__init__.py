"""Calibration: from margins to probabilities, as ``qwen3-rerank evaluate --calibrate`` fitted them.

Fitting needs scipy and is in `qwen3_rerank.evaluation`; applying needs nothing.
"""

from shared_core.calibration.file import Calibrations as Calibrations
from shared_core.calibration.file import dumped as dumped
from shared_core.calibration.fitted_for import FittedFor as FittedFor
from shared_core.calibration.fitted_for import fitted_for as fitted_for
from shared_core.calibration.maps import Calibration as Calibration
from shared_core.calibration.maps import Isotonic as Isotonic
from shared_core.calibration.maps import NoAnswer as NoAnswer
from shared_core.calibration.maps import Platt as Platt
from shared_core.calibration.maps import features_of as features_of
