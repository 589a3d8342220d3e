"""A QGIS Processing script that segments a raster layer and adds the polygons as a layer.

Install it with: Processing toolbox, Scripts, Add script to toolbox.
It runs the command `anymask`. If it is in a separate environment, pass the path of the command.
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
    """Runs `anymask everything RASTER -o LAYER`, or `anymask find` with a text prompt."""

    def name(self) -> str:
        return "anymask_everything"

    def displayName(self) -> str:  # noqa: N802 - QGIS calls it so
        return "Segment all objects (anymask)"

    def shortHelpString(self) -> str:  # noqa: N802
        return "Create polygons of all objects, or of those that match a text prompt."

    def createInstance(self) -> "AnymaskEverything":  # noqa: N802
        return AnymaskEverything()

    def initAlgorithm(self, config: object = None) -> None:  # noqa: N802
        self.addParameter(QgsProcessingParameterRasterLayer("RASTER", "Map"))
        self.addParameter(
            QgsProcessingParameterString("WORDS", "Text prompt, such as: roof, tree", optional=True)
        )
        self.addParameter(
            QgsProcessingParameterNumber(
                "GSD",
                "Pixel size in meters (0: pixel size of the map)",
                QgsProcessingParameterNumber.Double,
                0.0,
                minValue=0.0,
            )
        )
        self.addParameter(QgsProcessingParameterBoolean("RIGHT", "Right angles", False))
        self.addParameter(QgsProcessingParameterString("COMMAND", "Command", "anymask"))
        self.addParameter(
            QgsProcessingParameterString("OPTIONS", "Additional options", "", optional=True)
        )
        self.addParameter(
            QgsProcessingParameterVectorDestination(
                "OUTPUT", "Objects", QgsProcessing.TypeVectorPolygon, "objects.gpkg"
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
                    process.terminate()  # run the same command again to resume
        if process.returncode and not feedback.isCanceled():
            raise QgsProcessingException("anymask failed. See its error message above.")
        return {"OUTPUT": output}
