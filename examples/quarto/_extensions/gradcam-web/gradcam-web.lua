-- {{< grad-cam cat.jpg alt="A cat on a sofa" controls=true >}}: a live figure in HTML, the picture everywhere else.
-- The package lies in gradcam-web/ beside the document, or where `gradcam-web-base` in the document's metadata says.

local function escaped(text)
  return (text:gsub("&", "&amp;"):gsub('"', "&quot;"):gsub("<", "&lt;"))
end

local scripts = {}

return {
  ["grad-cam"] = function(arguments, options, metadata)
    local source = pandoc.utils.stringify(arguments[1])
    local alt = pandoc.utils.stringify(options["alt"] or "")
    if not quarto.doc.is_format("html:js") then
      return pandoc.Image({ pandoc.Str(alt) }, source)
    end
    local base = pandoc.utils.stringify(metadata["gradcam-web-base"] or "gradcam-web/")
    if not scripts[base] then
      scripts[base] = true
      quarto.doc.include_text("in-header", '<script type="module" src="' .. escaped(base) .. 'index.js"></script>')
    end
    local attributes = ""
    for name, value in pairs(options) do
      local text = pandoc.utils.stringify(value)
      if name ~= "alt" and text ~= "false" and name:match("^[a-z][a-z-]*$") and not name:match("^on") then
        attributes = attributes .. " " .. name .. (text == "true" and "" or '="' .. escaped(text) .. '"')
      end
    end
    local image = '<img src="' .. escaped(source) .. '" alt="' .. escaped(alt) .. '">'
    return pandoc.RawBlock("html", "<grad-cam" .. attributes .. ">" .. image .. "</grad-cam>")
  end,
}
