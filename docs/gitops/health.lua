-- Health of a SpeechModel for Argo CD.
-- Healthy: the spec is in effect. Degraded: a person must act. Suspended: spec.suspend keeps stages from running.
-- Progressing: anything else, also while an old version is served and a new one is made.
local health = { status = "Progressing", message = "the operator has not reported yet" }
local status = obj.status
if status == nil or status.conditions == nil then
  return health
end

-- A step that failed may have written a condition about the newest spec although the rest of the status is about the one before.
local function about_newest(observed)
  return obj.metadata.generation == nil or (observed ~= nil and observed >= obj.metadata.generation)
end

local ready, reconciling, stalled = nil, nil, nil
for _, condition in ipairs(status.conditions) do
  if condition.type == "Ready" then
    ready = condition
  elseif condition.status == "True" and about_newest(condition.observedGeneration) then
    if condition.type == "Reconciling" then
      reconciling = condition
    elseif condition.type == "Stalled" then
      stalled = condition
    end
  end
end

if stalled ~= nil then
  health.status = "Degraded"
  health.message = stalled.reason .. ": " .. stalled.message
elseif reconciling ~= nil then
  if reconciling.reason == "Suspended" then
    health.status = "Suspended"
  end
  health.message = reconciling.reason .. ": " .. reconciling.message
elseif not about_newest(status.observedGeneration) then
  health.message = "the operator has not seen the newest spec yet"
elseif ready ~= nil then
  if ready.status == "True" then
    health.status = "Healthy"
  end
  health.message = ready.reason .. ": " .. ready.message
end
return health
