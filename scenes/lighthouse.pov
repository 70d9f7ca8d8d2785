#include "common.inc"
#include "outdoor.inc"
Shot(<-9, 3.0, -17>, <0.3, 5.6, 0>, 29, 420/600, 0)
Sky(<0.20, 0.40, 0.72>, <0.66, 0.76, 0.86>, 0.55)
Lamp(<-300, 420, -500>, <0.95, 0.88, 0.76>, 14)
object { plane { y, -0.8 } #if (Show) pigment { rgb 1 } finish { emission 1 diffuse 0 } #else Sea(<0.02, 0.08, 0.13>) #end }
Prop(
  isosurface {
    function { y - 0.35 + 0.035*(x*x + z*z)*0.55 - 1.1*f_noise3d(x*0.5, y*0.5, z*0.5 + 3) - 0.35*f_noise3d(x*1.9, y*1.9, z*1.9) + 0.75 }
    contained_by { box { <-9, -1.2, -9>, <9, 1.3, 9> } } max_gradient 3
    texture { pigment { granite scale 2.5 colour_map { [0 rgb <0.20, 0.17, 0.14>] [0.6 rgb <0.36, 0.31, 0.26>] [1 rgb <0.48, 0.43, 0.36>] } } normal { granite 0.4 scale 0.7 } }
  }
)
Known(1, object { Lighthouse(<0.62, 0.05, 0.035>) translate y*0.3 })
