"""Names of the invented city's car parks, without the mark that every name gets."""

from __future__ import annotations

from typing import NamedTuple

from cityloop_common.geo import Position


class Named(NamedTuple):
    """What a car park is called: the place it belongs to, then what it is."""

    of: str
    what: str
    of_en: str
    what_en: str


class Known(NamedTuple):
    """A car park that was there before the map."""

    named: Named
    position: Position
    kerbside: bool


KNOWN = (  # the twelve of the first sample: names, positions and kinds stay
    Known(Named("文化广场", "停车场", "Culture Square", ""), Position(109.7871, 39.5652), kerbside=False),
    Known(Named("母亲公园", "地下车库", "Mother Park", " Garage"), Position(109.7936, 39.5618), kerbside=False),
    Known(Named("可汗街", "路侧泊位", "Khan Street", " kerbside"), Position(109.7845, 39.5671), kerbside=True),
    Known(Named("体育中心", "停车楼", "Sports Centre", " Deck"), Position(109.7768, 39.5704), kerbside=False),
    Known(Named("人民医院", "停车场", "People's Hospital", ""), Position(109.7902, 39.5697), kerbside=False),
    Known(Named("行政中心", "停车场", "Civic Centre", ""), Position(109.7813, 39.5589), kerbside=False),
    Known(Named("火车站", "停车场", "Railway Station", ""), Position(109.8042, 39.5551), kerbside=False),
    Known(Named("通格朗街", "路侧泊位", "Tonggelang Street", " kerbside"), Position(109.7889, 39.5633), kerbside=True),
    Known(Named("水上公园", "停车场", "Water Park", ""), Position(109.7721, 39.5622), kerbside=False),
    Known(Named("商业步行街", "地下车库", "Pedestrian Mall", " Garage"), Position(109.7858, 39.5644), kerbside=False),
    Known(Named("第一中学", "路侧泊位", "No. 1 School", " kerbside"), Position(109.7927, 39.5733), kerbside=True),
    Known(Named("蒙古源流文化产业园", "", "Culture Park Gate", ""), Position(109.8127, 39.5689), kerbside=False),
)

OFF_STREET = (  # in the order in which they choose where to stand: the more central first
    Named("银河购物中心", "地下车库", "Galaxy Shopping Centre", " Garage"),
    Named("图书馆", "停车场", "City Library", ""),
    Named("百货大楼", "停车楼", "Department Store", " Deck"),
    Named("蒙医中医院", "停车场", "Mongolian and Chinese Medicine Hospital", ""),
    Named("老街农贸市场", "停车场", "Old Street Farmers' Market", ""),
    Named("大剧院", "地下车库", "Grand Theatre", " Garage"),
    Named("政务服务中心", "停车场", "Public Service Centre", ""),
    Named("第二中学", "停车场", "No. 2 School", ""),
    Named("牧民之家宾馆", "停车场", "Herders' Home Hotel", ""),
    Named("青年公寓", "地下车库", "Youth Apartments", " Garage"),
    Named("妇幼保健院", "停车场", "Maternity Hospital", ""),
    Named("博物馆", "停车场", "City Museum", ""),
    Named("苏勒德小区", "停车场", "Sulede Compound", ""),
    Named("锦绣花园小区", "地下车库", "Brocade Garden Compound", " Garage"),
    Named("儿童公园", "停车场", "Children's Park", ""),
    Named("建材市场", "停车场", "Building Materials Market", ""),
    Named("沙柳新村", "停车场", "Sand Willow Village", ""),
    Named("客运总站", "停车场", "Coach Terminal", ""),
    Named("科技馆", "停车场", "Science Hall", ""),
    Named("白鹿家园小区", "地下车库", "White Deer Homes Compound", " Garage"),
    Named("实验小学", "停车场", "Experimental Primary School", ""),
    Named("牛羊肉批发市场", "停车场", "Meat Wholesale Market", ""),
    Named("鸿雁湖公园", "停车场", "Swan Goose Lake Park", ""),
    Named("金驼大厦", "停车楼", "Golden Camel Tower", " Deck"),
    Named("职业技术学校", "停车场", "Vocational School", ""),
    Named("北辰小区", "停车场", "North Star Compound", ""),
    Named("会展中心", "停车场", "Exhibition Centre", ""),
    Named("赛马场", "停车场", "Racecourse", ""),
    Named("康宁医院", "停车场", "Kangning Hospital", ""),
    Named("南苑小区", "停车场", "South Garden Compound", ""),
    Named("汽车城", "停车场", "Motor City", ""),
    Named("湿地公园", "停车场", "Wetland Park", ""),
    Named("物流园", "停车场", "Logistics Park", ""),
)

KERBSIDE = (  # one more on each of these streets
    Named("鸿雁路", "路侧泊位", "Swan Goose Road", " kerbside"),
    Named("马头琴路", "路侧泊位", "Horsehead Fiddle Road", " kerbside"),
    Named("云杉路", "路侧泊位", "Spruce Road", " kerbside"),
    Named("书院街", "路侧泊位", "Academy Street", " kerbside"),
    Named("沙柳路", "路侧泊位", "Sand Willow Road", " kerbside"),
    Named("柳荫巷", "路侧泊位", "Willow Shade Lane", " kerbside"),
    Named("红柳街", "路侧泊位", "Red Willow Street", " kerbside"),
    Named("马市巷", "路侧泊位", "Horse Market Lane", " kerbside"),
    Named("银杏路", "路侧泊位", "Ginkgo Road", " kerbside"),
    Named("白鹿路", "路侧泊位", "White Deer Road", " kerbside"),
    Named("北辰街", "路侧泊位", "North Star Street", " kerbside"),
    Named("清泉巷", "路侧泊位", "Clear Spring Lane", " kerbside"),
    Named("南苑街", "路侧泊位", "South Garden Street", " kerbside"),
    Named("苏勒德路", "路侧泊位", "Sulede Road", " kerbside"),
    Named("金驼路", "路侧泊位", "Golden Camel Road", " kerbside"),
)
