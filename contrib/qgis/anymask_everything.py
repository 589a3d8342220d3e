"""A Processing script of QGIS: finds everything on a raster layer with anymask, and adds the layer.

Put it into the folder of Processing scripts (Processing toolbox, Scripts, Add script to toolbox).
It runs the command `anymask`, which may live in an environment of its own: give its path.
"""

import subprocess

from qgis.core import (
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
)


class AnymaskEverything(QgsProcessingAlgorithm):
    """`anymask everything RASTER -o LAYER`, or `anymask find` where words are given."""

    def name(self) -> str:
        return "anymask_everything"

    def displayName(self) -> str:  # noqa: N802 - QGIS calls it so
        return "Find everything (anymask)"

    def shortHelpString(self) -> str:  # noqa: N802
        return "Polygons of all things on a map, or of those that words name, with areas in m2."

    def createInstance(self) -> "AnymaskEverything":  # noqa: N802
        return AnymaskEverything()

    def initAlgorithm(self, config: object = None) -> None:  # noqa: N802
        self.addParameter(QgsProcessingParameterRasterLayer("RASTER", "Map"))
        self.addParameter(
            QgsProcessingParameterString("WORDS", "Words, such as: roof, tree", optional=True)
        )
        self.addParameter(
            QgsProcessingParameterNumber(
                "GSD",
                "Metres of a pixel (0: the map's own)",
                QgsProcessingParameterNumber.Double,
                0.0,
                minValue=0.0,
            )
        )
        self.addParameter(QgsProcessingParameterBoolean("RIGHT", "Right angles", False))
        self.addParameter(QgsProcessingParameterString("COMMAND", "Command", "anymask"))
        self.addParameter(
            QgsProcessingParameterString("OPTIONS", "More options", "", optional=True)
        )
        self.addParameter(
            QgsProcessingParameterVectorDestination(
                "OUTPUT", "Things", QgsProcessing.TypeVectorPolygon, "things.gpkg"
            )
        )

    def processAlgorithm(self, parameters, context, feedback):  # noqa: N802
        source = self.parameterAsRasterLayer(parameters, "RASTER", context).source()
        output = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        words = self.parameterAsString(parameters, "WORDS", context).strip()
        gsd = self.parameterAsDouble(parameters, "GSD", context)
        command = [self.parameterAsString(parameters, "COMMAND", context)]
        command += ["find", source, words] if words else ["everything", source]
        command += ["-o", output]
        command += ["--gsd", str(gsd)] if gsd else []
        if self.parameterAsBoolean(parameters, "RIGHT", context):
            command.append("--right-angles")
        command += self.parameterAsString(parameters, "OPTIONS", context).split()
        feedback.pushCommandInfo(" ".join(command))
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            for line in process.stdout:
                feedback.pushInfo(line.rstrip())
                if feedback.isCanceled():
                    process.terminate()  # the same command goes on later
        if process.returncode and not feedback.isCanceled():
            raise QgsProcessingException("anymask failed; its message stands above")
        return {"OUTPUT": output}
