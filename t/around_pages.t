#!/usr/bin/perl

# Why: an error that nginx makes before the gate has decided leads to a page of
# the operator's choice.  That must not become a way to what was asked for, nor
# to the tenant API behind the page's back.

use strict;
use warnings;

use File::Path qw(make_path);

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Refusal;

my $t = Test::Lockbox->new;

my $upstream = 'proxy_pass http://127.0.0.1:%%PORT_8081%%;';

# A gated location of that service, where scanners are turned away before
# anybody is judged.
sub gated {
    my ($service, @more) = @_;

    return gated_at("/tenants/acme/$service/", $service, @more);
}

sub gated_at {
    my ($place, $service, @more) = @_;

    return join "\n", "location $place {", 'lockbox on;',
        'lockbox_tenant acme;', "lockbox_service $service;",
        'if ($http_user_agent ~ scanner) { return 403; }', @more, "}\n";
}

my @SAME = qw(bare listed tried);
my @OTHER = qw(paged rewritten chosen);
my @HELPED = qw(included checked mirrored);

$t->redis;
$t->upstream(handler => sub { [ 200, {}, "the secret of $_[0]{uri}" ] });
make_path(map { $t->testdir . "/files/$_" } 'tenants/acme/listed/secrets',
          'tenants/acme/tried/secrets',
          (map { "tenants/acme/$_" } @SAME, @OTHER), 'pages', @HELPED);
$t->write_file("files/tenants/acme/$_/secret", 'the secret') for @SAME, @OTHER;
$t->write_file('files/tenants/acme/tried/more.txt', 'the secret');
$t->write_file('files/pages/denied', 'go away');
$t->write_file("files/$_/x", 'go away') for qw(checked mirrored);
$t->write_file('files/included/x', 'go away <!--# include virtual="/m" -->');
$t->write_conf($t->conf(server => 'root %%TESTDIR%%/files;',
                        locations => join '',
    map({ gated($_, "error_page 403 \@$_;") } @SAME, qw(rewritten chosen)),
    gated('paged', 'error_page 403 /pages/denied;'),
    map({ gated($_, "error_page 403 /$_/x;", $upstream) } @HELPED),
    gated_at('= /', 'root', 'error_page 403 @chosen;'),
    gated('said', 'return 200 "the secret";'),
    <<"EOF_LOCATIONS"));
location \@bare { add_header X-Page yes always; }
location \@listed { autoindex on; }
location \@tried { autoindex on; try_files \$uri \$uri/ \$uri.txt =404; }
location \@rewritten { rewrite ^ /pages/denied break; }
location \@chosen { try_files /pages/denied =404; }
location /pages/ { }
location /included/ { ssi on; default_type text/html; }
location /checked/ { auth_request /m; }
location /mirrored/ { mirror /m; }
location = /m { internal; $upstream }
location /from/ { error_page 404 /tenants/acme/said/x; return 404; }
location /lockbox/ { lockbox_admin on; }
EOF_LOCATIONS
$t->run;
use_world($t);

sub scan {
    my ($uri) = @_;

    return $t->http('GET', $uri, headers => { 'User-Agent' => 'scanner' });
}

sub grant {
    my ($service) = @_;

    return $t->grant(life => 3600, access => [ {
        service => $service, methods => [ 'GET' ], paths => [ '/' ],
    } ]);
}

# What was asked for is no page

for my $case ((map { [ $_, 'secret' ] } @SAME), [ 'listed', '' ],
              [ 'listed', 'secrets/' ], [ 'tried', '' ], [ 'tried', 'secrets' ],
              [ 'tried', 'more' ])
{
    my ($service, $name) = @$case;
    my $uri = "/tenants/acme/$service/$name";

    refused(scan($uri), 'internal_error', "$uri, turned away before the gate");
    recorded([ 'internal_error' ], '... on record');
    refused($t->http('GET', $uri), 'no_token', "$uri, without a token");
    recorded([ 'no_token' ], '... on record');
}

is($t->http('GET', "/tenants/acme/$_/secret", token => grant($_))->body,
   'the secret', "$_, with a grant")
    for @SAME;
recorded([ ('allow') x @SAME ], 'on record');

# A path that the operator has named is

for my $uri ('/', map { "/tenants/acme/$_/secret" } @OTHER) {
    my $page = scan($uri);

    is($page->status . ' ' . $page->body, '403 go away', "$uri: a page");
    recorded([ 'not_decided' ], '... on record');
}

# Nor is what the location itself would say, with an earlier error's status

refused($t->http('GET', '/from/x'), 'internal_error', 'led to what is said');
recorded([ 'internal_error' ], '... on record');

# What a page includes, asks or mirrors does not happen for who was not let in

for my $service (@HELPED) {
    my $before = () = $t->upstream_requests;

    unlike(scan("/tenants/acme/$service/x")->body, qr/secret/,
           "$service: a page without what it would get");
    recorded([ 'not_decided' ], '... on record');

    $t->http('GET', "/$service/x");
    $t->wait_for(sub { (() = $t->upstream_requests) > $before }, undef,
                 'what it does when it is asked for');
    is(scalar(() = $t->upstream_requests), $before + 1,
       '... which has happened once');
    recorded([], '... and is on no record');
}

done_testing;
