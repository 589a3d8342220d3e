<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22.0" styleCategories="Symbology|Labeling" labelsEnabled="1">
  <renderer-v2 type="graduatedRenderer" attr="score" graduatedMethod="GraduatedColor" symbollevels="0" enableorderby="0">
    <ranges>
      <range lower="0.000000" upper="0.500000" label="less than 0.5" symbol="0" render="true"/>
      <range lower="0.500000" upper="0.800000" label="0.5 to 0.8" symbol="1" render="true"/>
      <range lower="0.800000" upper="1.000000" label="0.8 and more" symbol="2" render="true"/>
    </ranges>
    <symbols>
      <symbol type="fill" name="0" alpha="1">
        <layer class="SimpleFill" enabled="1"><prop k="color" v="215,48,39,40"/><prop k="outline_color" v="215,48,39,255"/><prop k="outline_width" v="0.4"/></layer>
      </symbol>
      <symbol type="fill" name="1" alpha="1">
        <layer class="SimpleFill" enabled="1"><prop k="color" v="253,174,97,40"/><prop k="outline_color" v="230,140,40,255"/><prop k="outline_width" v="0.4"/></layer>
      </symbol>
      <symbol type="fill" name="2" alpha="1">
        <layer class="SimpleFill" enabled="1"><prop k="color" v="26,152,80,40"/><prop k="outline_color" v="26,152,80,255"/><prop k="outline_width" v="0.4"/></layer>
      </symbol>
    </symbols>
  </renderer-v2>
  <labeling type="simple">
    <settings calloutType="simple">
      <text-style fieldName="coalesce(&quot;label&quot; || '\n', '') || format_number(&quot;area_m2&quot;, 0) || ' m²'" isExpression="1" fontSize="8" textColor="20,20,20,255">
        <text-buffer bufferDraw="1" bufferSize="0.8" bufferColor="255,255,255,255"/>
      </text-style>
      <rendering scaleVisibility="1" scaleMin="5000" scaleMax="1"/>
    </settings>
  </labeling>
</qgis>
