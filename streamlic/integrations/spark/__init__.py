"""streamlic on Spark: ``export_with_spark`` and ``spark.read.format("truto")``.

Needs the extra ``spark``.
"""

from streamlic.integrations.spark.landing import export_with_spark
from streamlic.integrations.spark.session import register

__all__ = ["export_with_spark", "register"]
