"""The fixed texts that the vocabularies of tiny and random weights are counted from."""

from __future__ import annotations

TEXT = """
a photo of a black cat sitting on a wooden table next to a window with white curtains
an aerial view of a city at night with lights along the river and tall buildings in the background
two young women walking down the street in the rain holding red and blue umbrellas
a man in a dark suit is standing in front of a large crowd and speaking into a microphone
the golden retriever dog runs across a green field toward the camera while a ball flies through the air
close up of a bowl of fresh fruit with apples bananas oranges grapes strawberries and a slice of lemon
portrait of an old woman with grey hair glasses and a warm smile soft natural light shallow depth of field
a small boat sails on a calm lake surrounded by mountains covered with snow under a clear blue sky
children are playing football in the park during a sunny summer day their parents watch from a bench
a digital painting of a fantasy castle on a cliff above the sea dramatic clouds highly detailed
the train arrives at the station and people with bags and suitcases wait on the platform
a kitchen with modern white cabinets a steel oven a stone counter and a vase of yellow flowers
a chef is cutting vegetables with a sharp knife then she puts them into a hot pan with oil and garlic
product shot of a leather shoe on a plain background studio lighting high resolution
a young couple dances slowly in an empty room filled with candles and old furniture
birds fly over the ocean at sunset waves break on the sandy beach near some palm trees
a yellow taxi drives through a busy street in new york between trucks buses and bicycles
an astronaut in a white space suit floats above the earth stars and a distant planet behind him
the camera slowly pans from left to right and shows a wide desert valley with rocks and a dusty road
black and white photograph of a worker repairing a machine inside an old factory
a brown horse and two sheep stand behind a fence on a farm early in the morning with fog
a little girl wearing a pink dress and a straw hat blows out the candles on her birthday cake
three boys jump into a swimming pool water splashes everywhere and everyone laughs
a cup of coffee a notebook a pen and a laptop computer on a desk seen from above
a tiger walks through tall grass in the jungle looking for food its eyes bright and its body low
cartoon illustration of a happy robot holding a sign that says hello in big letters
a vintage red sports car parked outside a cafe in paris trees reflected in its windows
the surfer rides a huge wave as the sun rises behind him slow motion
a doctor and a nurse in a hospital talk to a patient lying in bed
an elderly man reads a newspaper while drinking tea at home by the fireplace
a basketball player throws the ball and scores while his team celebrates
snow falls gently on the roof of a cabin in the forest smoke comes from the chimney
a plate of pasta with tomato sauce cheese and basil on a restaurant table with a glass of wine
a group of friends sit around a camp fire and play the guitar under the night sky
time lapse of clouds moving over a bridge while cars and people pass below
a white bird with a long neck stands in shallow water between green plants and catches a fish
a beautiful abstract pattern of circles lines and triangles in purple pink orange and turquoise
street art on a brick wall shows the face of a child with colorful paint dripping down
the bride and groom kiss in the church while the guests clap their hands
an elephant family drinks at a river in africa one baby elephant plays in the mud
a train of thought about time light color shape texture motion space and sound
the interior of a library with long rows of books high ceilings statues and marble columns
a soldier in uniform salutes the flag next to a helicopter and an airplane
a waterfall drops from a cliff into a deep pool in a tropical rain forest
a scientist looks through a microscope in a laboratory with bottles tubes and screens
market stall with fish meat bread eggs onions carrots potatoes peppers and rice for sale
a butterfly lands on a purple flower in the garden macro photography
a girl with curly hair and headphones is riding a skateboard downhill
logo design of a bear head simple flat minimal vector style
a living room with a sofa a carpet a lamp a television and several pictures on the wall
cinematic scene of a detective with a coat and hat smoking in a dark alley neon signs rain reflections
a baby sleeps in a crib covered with a soft blanket beside a toy rabbit and a teddy bear
the monkey climbs a tree branch and eats a banana then it looks at the viewer
ancient temple ruins in the middle of the jungle covered by moss and roots
a woman practices yoga on the beach at dawn stretching her arms and legs
screenshot of a video game with a knight fighting a dragon using a sword and a shield
a fire truck with flashing lights stops in front of a burning house firefighters spray water
macro shot of raindrops on a green leaf after the storm
a hand draws a simple map on paper with a pencil then folds it
football stadium full of fans waving flags before the match starts
a sculpture made of glass and metal stands in the hall of a museum visitors take pictures
autumn leaves in red and gold cover the path through the quiet park
a ship leaves the harbor at dusk its lights shine on the dark water
a student writes an equation on the blackboard while the teacher explains it to the class
pizza burger sandwich salad soup chicken steak chocolate ice cream cookies pancakes and juice on the menu
spring winter summer autumn morning noon afternoon evening midnight today yesterday tomorrow
one two three four five six seven eight nine ten hundred thousand first second third last
upper lower left right top bottom center side front back inside outside near far under over between behind
person people man men woman women boy girl child children baby adult father mother brother sister friend
head hair face eye eyes nose mouth ear neck shoulder arm hand finger chest leg knee foot feet skin
shirt pants jeans jacket coat dress skirt shoes boots hat cap scarf gloves tie belt watch ring necklace bag
dog cat horse cow sheep pig goat chicken duck goose rabbit mouse lion tiger bear wolf fox deer elephant zebra
giraffe
car truck bus bicycle bike motorcycle scooter train plane airplane helicopter boat ship van tractor wagon rocket
red orange yellow green blue purple pink brown black white grey gray gold silver beige dark light bright pale
colorful
big small large tiny huge tall short long wide narrow thick thin round square flat sharp soft hard smooth rough
shiny
happy sad angry calm tired surprised serious excited beautiful ugly cute scary funny strange famous modern old new
young ancient
sitting standing walking running jumping lying sleeping eating drinking cooking reading writing talking looking
holding carrying
wearing playing riding driving flying swimming dancing singing smiling laughing crying fighting throwing catching
kicking
moving turning opening closing pouring cutting painting drawing building working waiting watching showing taking
making
this that these those there here where when while then before after again also only very more most some any many few
each every
he she it they we you i his her its their our your my who what which how why not no yes can will would could should
is are was were be been being has have had do does did go goes went come comes came get gets make makes made see
seen
photo photograph picture image painting drawing sketch illustration render scene view landscape portrait video clip
frame
style realistic photorealistic watercolor oil digital vintage retro cinematic dramatic detailed blurry focus
background foreground
against among because except like off onto past since until upon within without able actual alone already although
always amazing another answer anyone appear area aspect attention average away bad base basic beauty become begin
best better block board bottle box breakfast brush bucket bunch burn business businessman butter button buy cabinet
call candy card care case cave ceiling century chain chair change character charge chart check chin circle classic
clean climb clock closet closeup clothes clothing cloud cloudy club coast cold collection college column comfortable
common company concept concert concrete conference construction container content control cook cool copy corner
costume cottage couch council country countryside court courtyard creative creature crop cross curtain curve
customer daily damage dance danger data date deck decor decoration delicious desktop dessert detail device diagram
dining dinner dish display diverse dock dome door dot double drink drop dry dust easy edge editorial education
elegant emotion energy engine entrance environment equipment event exercise exhibition expression exterior fabric
fact fall fan farmer fashion fast feather feature features female festival figure fit floor floral flow fluffy folk
footage fork form fountain free freezing friendly frozen fun fur future gate gentle giant gift glow goal gown
graphic gravel great grill ground grow growing guard guide gym hallway hammer handle hang hanging happiness harvest
healthy heart heavy hedge highway hiker hiking hill historic hockey hole holiday hood hook hotel hour hug human hut
icon iconic idea images including indoor industrial industry insect instrument island item jar jewelry job journey
kettle keyboard kid king kitten ladder lady lamb landing lane language layer leader leaning lens lesson level life
lighthouse lip liquid list local log lonely lot love luxury magazine magic mail male mall manager mask mat material
meadow meal medical medium meeting member message military milk mind mirror mist misty model money monster mood moon
motor mountain movie multiple muscle music musician mystery name national native nature net noodle north note number
nut object offer office officer official often open orchestra order organic ornate outdoor outdoors outfit oval
owner pack page pair palace panel panorama panoramic parade parent parking part party passenger pasture pavement paw
peaceful pepper perfect perform performance performer pet petal phone pier pile pillow pilot pine pipe pirate pitch
place plaid plan plant plastic pocket poem point pole police pond poor popular porch portion pose posing position
poster pot pottery powder power present pretty price primary princess print private process professional project
property protective public pumpkin puppy puzzle queen quick race racing rail railing railway raincoat ranch range
rear record reflection region relax remote resort resting restored result ridge ripe robe rock rocky roll romantic
rope rose row royal rug runner rural rustic safety sail sailor salmon sand santa satellite scale scattered scenery
school science scissors screen seagull seagulls seal seashore season seat seed senior series set setting shade
shadow shadows shed sheet shelf shell shop shopping shore shower sidewalk silhouette silk singer single sink site
size skateboarder skater ski skier skyline skyscraper sleeve slope smartphone snack snowy soap soccer social soil
solid song south spacious special speed spiral splash sport spot spread squirrel stack staircase stairs star stare
statue steam steep stem step stick still stock stop store story stove straight stream stretch string stripe striped
strong structure stunning subject suburban subway sugar sunflower sunglasses sunlight sunrise surf surface surfing
sweater sweet swim symbol tablet tail tank tape target task tech technology teenager telephone telescope tennis tent
terrace test theater theme thing tire title together tool tourist towel tower town track trade traditional traffic
trail trailer training transparent transport travel treasure tribal trip trophy trumpet trunk tunnel turtle type
typical uncle underwater unique university urban use used variety various vegetable vehicle vest victorian village
vine violin visible volcano vibrant waist walkway warrior wash waste waterfront weapon weather wedding weed week
weight west wet wheat wheel wheelchair whale whisker wild wildlife windmill wing winner wire witch wonder wood woods
wool word work worn wrapped wrist yard yarn year youth zoo adventure airport alpine angel animal apartment arch
architecture army arrow artist artistic athlete atmosphere attire audience author automobile avenue backpack bakery
balcony ballet balloon band bank banner bar barn barrel baseball basket bat bath bathroom battle bay beak beam bean
beard bedroom bee beer bell berry biker bill billboard biscuit blade blonde blossom bone border boxer bracelet brain
brand brass breeze
"""

# What the prompt templates of language models say, so that a word of them is one token, as with the real tokenizers.
INSTRUCTIONS = """
system
Describe the image by detailing the color, shape, size, texture, quantity, text, spatial relationships of the objects
user
 and background:
assistant

Describe the video by detailing the following aspects: 1. The main content and theme of the video.
2. The color, shape, size, texture, quantity, text, and spatial relationships of the objects.
3. Actions, events, behaviors temporal relationships, physical movement changes of the objects.
4. background environment, light, style and atmosphere.
5. camera angles, movements, and transitions used in the video:

You are a helpful assistant. Describe the video by detailing the following aspects:         1.
"""
