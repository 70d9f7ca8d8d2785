#include "common.inc"
#include "outdoor.inc"
Shot(<-2.6, 3.0, -4.2>, <-0.15, 0.3, 0>, 33, 600/480, 0.08)
Sky(<0.14, 0.25, 0.06>, <0.32, 0.45, 0.15>, 0)
Lamp(<-5, 9, -3>, <0.95, 0.93, 0.85>, 2.5)
#declare Vein = function(x, z) { min(abs(z)*0.5, abs(mod(abs(x*1.0 - abs(z)*0.8 + 20), 1.1) - 0.55)) }
Ground(isosurface {
  function { y + 0.02*x*x + 0.035*z*z - 0.06*sin(x*1.3) - 0.05*min(1, Vein(x, z)*9) }
  contained_by { box { <-7, -2.5, -3.2>, <7, 0.4, 3.2> } } max_gradient 2.2
}, texture {
  pigment { function { min(1, Vein(x, z)*16) } colour_map { [0 rgb <0.30, 0.45, 0.10>] [1 rgb <0.09, 0.25, 0.03>] } }
  normal { bumps 0.2 scale 0.09 } finish { diffuse 0.8 specular 0.25 roughness 0.05 }
})
Known(1, object { Ladybug() rotate y*18 translate y*0.06 })
